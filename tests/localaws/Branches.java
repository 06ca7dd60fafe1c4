package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.ZoneOffset;
import java.util.Base64;
import java.util.List;
import java.util.TreeMap;
import org.eclipse.jgit.dircache.DirCache;
import org.eclipse.jgit.dircache.DirCacheEntry;
import org.eclipse.jgit.lib.CommitBuilder;
import org.eclipse.jgit.lib.Constants;
import org.eclipse.jgit.lib.FileMode;
import org.eclipse.jgit.lib.ObjectId;
import org.eclipse.jgit.lib.ObjectInserter;
import org.eclipse.jgit.lib.PersonIdent;
import org.eclipse.jgit.lib.Repository;
import org.eclipse.jgit.merge.MergeStrategy;
import org.eclipse.jgit.merge.ThreeWayMerger;
import org.eclipse.jgit.revwalk.RevCommit;
import org.eclipse.jgit.revwalk.RevWalk;

/**
 * The CodeCommit calls that read and change branches without Git: branches, commits, files and merges, with the rules
 * of their API references. Conflicts are never resolved here, as if no strategy was given.
 */
final class Branches {
    private final LocalAws aws;
    private final CodeCommit.Repo repo;
    private final ObjectNode input;
    private final Caller caller;

    Branches(LocalAws aws, CodeCommit.Repo repo, ObjectNode input, Caller caller) {
        this.aws = aws;
        this.repo = repo;
        this.input = input;
        this.caller = caller;
    }

    /** The ref that a call would change, as codecommit:References has it; null when it names a commit only. */
    static String reference(String operation, ObjectNode input) {
        var name = operation.startsWith("Merge") ? input.path("targetBranch")
                .asText(input.path("destinationCommitSpecifier").asText())
                : operation.equals("CreateUnreferencedMergeCommit") ? input.path("destinationCommitSpecifier").asText()
                        : input.path("branchName").asText();
        if (ObjectId.isId(name)) return null;
        return name.startsWith("refs/") ? name : "refs/heads/" + name;
    }

    JsonNode answer(String operation) {
        try {
            return switch (operation) {
                case "GetBranch" -> {
                    var branch = branch(input.get("branchName").asText());
                    yield node("branch", Models.JSON.createObjectNode()
                            .put("branchName", branch.substring("refs/heads/".length()))
                            .put("commitId", tip(branch).name()));
                }
                case "GetCommit" -> {
                    if (!ObjectId.isId(input.get("commitId").asText())) {
                        throw new AwsError("InvalidCommitIdException",
                                "The commit id is not valid: " + input.get("commitId").asText());
                    }
                    var id = input.get("commitId").asText();
                    yield node("commit", shown(commit(id, "CommitIdDoesNotExistException")));
                }
                case "CreateBranch" -> createBranch();
                case "DeleteBranch" -> deleteBranch();
                case "PutFile" -> putFile();
                case "DeleteFile" -> deleteFile();
                case "CreateCommit" -> createCommit();
                case "CreateUnreferencedMergeCommit" -> unreferencedMerge();
                case "MergeBranchesByFastForward", "MergeBranchesBySquash", "MergeBranchesByThreeWay" ->
                    mergeBranches(operation.substring("MergeBranchesBy".length()));
                default -> throw new AwsError("UnknownOperationException", operation);
            };
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static ObjectNode node(String name, JsonNode value) {
        return Models.JSON.createObjectNode().set(name, value);
    }

    private static ObjectNode shown(RevCommit commit) {
        var shown = Models.JSON.createObjectNode().put("commitId", commit.name()).put("treeId", commit.getTree().name())
                .put("message", commit.getFullMessage()).put("additionalData", "");
        var parents = shown.putArray("parents");
        for (var parent : commit.getParents()) parents.add(parent.name());
        shown.set("author", person(commit.getAuthorIdent()));
        shown.set("committer", person(commit.getCommitterIdent()));
        return shown;
    }

    private static ObjectNode person(PersonIdent person) {
        return Models.JSON.createObjectNode().put("name", person.getName()).put("email", person.getEmailAddress())
                .put("date", person.getWhenAsInstant().getEpochSecond() + " +0000");
    }

    private static String name(String branch) {
        var name = branch.startsWith("refs/heads/") ? branch : "refs/heads/" + branch;
        if (!Repository.isValidRefName(name) || branch.length() > 256 || ObjectId.isId(branch)) {
            throw new AwsError("InvalidBranchNameException", "The branch name " + branch + " is not valid");
        }
        return name;
    }

    private String branch(String name) {
        var branch = name(name);
        if (repo.resolve(branch) == null) {
            throw new AwsError("BranchDoesNotExistException", "The branch " + name + " does not exist");
        }
        return branch;
    }

    private ObjectId tip(String branch) {
        return repo.resolve(branch);
    }

    private RevCommit commit(String specifier, String missing) {
        try {
            return repo.commit(specifier);
        } catch (AwsError e) {
            throw e.code.equals("CommitDoesNotExistException") ? new AwsError(missing, e.getMessage()) : e;
        }
    }

    private JsonNode createBranch() throws IOException {
        var branch = name(input.get("branchName").asText());
        var commit = commit(input.get("commitId").asText(), "CommitDoesNotExistException");
        if (repo.resolve(branch) != null) {
            throw new AwsError("BranchNameExistsException",
                    "The branch " + input.get("branchName").asText() + " already exists");
        }
        set(branch, commit);
        return null;
    }

    private JsonNode deleteBranch() throws IOException {
        var branch = name(input.get("branchName").asText());
        var tip = tip(branch);
        if (tip == null) return Models.JSON.createObjectNode();
        if (branch.equals("refs/heads/" + repo.defaultBranch())) {
            throw new AwsError("DefaultBranchCannotBeDeletedException", "The default branch cannot be deleted");
        }
        var update = repo.git().updateRef(branch);
        update.setForceUpdate(true);
        repo.check(update.delete());
        repo.changed(branch, tip, caller);
        return node("deletedBranch", Models.JSON.createObjectNode()
                .put("branchName", branch.substring("refs/heads/".length())).put("commitId", tip.name()));
    }

    /** The commit that a change goes on top of: the branch's, or none where the repository has no branches. */
    private ObjectId parent(String branch) throws IOException {
        var tip = tip(branch);
        var given = input.path("parentCommitId").textValue();
        if (tip == null) {
            if (!repo.git().getRefDatabase().getRefsByPrefix("refs/heads/").isEmpty()) {
                throw new AwsError("BranchDoesNotExistException", "The branch " + branch + " does not exist");
            }
            return null;
        }
        if (given == null) throw new AwsError("ParentCommitIdRequiredException", "A parent commit ID is required");
        if (!given.equals(tip.name())) {
            throw new AwsError("ParentCommitIdOutdatedException",
                    "The parent commit ID is not the tip of the branch, " + tip.name());
        }
        return tip;
    }

    /** Writes a change of some files; content null deletes. */
    private final class Change {
        final String branch = name(input.get("branchName").asText());
        final ObjectId parent = parent(branch);
        final TreeMap<String, DirCacheEntry> files = new TreeMap<>();
        final ObjectInserter inserter = repo.git().newObjectInserter();

        Change() throws IOException {
            if (parent == null) return;
            try (var walk = new RevWalk(repo.git())) {
                var all = DirCache.newInCore();
                var builder = all.builder();
                builder.addTree(new byte[0], 0, walk.getObjectReader(), walk.parseCommit(parent).getTree());
                builder.finish();
                for (var i = 0; i < all.getEntryCount(); i++) {
                    files.put(all.getEntry(i).getPathString(), all.getEntry(i));
                }
            }
        }

        ObjectId put(String path, String content, String mode) throws IOException {
            var blob = inserter.insert(Constants.OBJ_BLOB, Base64.getDecoder().decode(content));
            var entry = new DirCacheEntry(path(path));
            entry.setObjectId(blob);
            entry.setFileMode(mode.equals("EXECUTABLE") ? FileMode.EXECUTABLE_FILE
                    : mode.equals("SYMLINK") ? FileMode.SYMLINK : FileMode.REGULAR_FILE);
            files.put(path(path), entry);
            return blob;
        }

        ObjectId delete(String path) {
            var gone = files.remove(path(path));
            if (gone == null) throw new AwsError("FileDoesNotExistException", "There is no file " + path);
            return gone.getObjectId();
        }

        ObjectNode commit() throws IOException {
            var index = DirCache.newInCore();
            var builder = index.builder();
            files.values().forEach(builder::add);
            builder.finish();
            var tree = index.writeTree(inserter);
            var commit = insert(inserter, tree, parent == null ? List.of() : List.of(parent));
            set(branch, commit);
            return Models.JSON.createObjectNode().put("commitId", commit.name()).put("treeId", tree.name());
        }
    }

    private static String path(String path) {
        return path.replaceFirst("^/", "");
    }

    private JsonNode putFile() throws IOException {
        var change = new Change();
        var path = input.get("filePath").asText();
        var before = change.files.get(path(path));
        var blob = change.put(path, input.get("fileContent").asText(), input.path("fileMode").asText("NORMAL"));
        if (before != null && before.getObjectId().equals(blob)) {
            throw new AwsError("SameFileContentException", "The file " + path + " has this content already");
        }
        return change.commit().put("blobId", blob.name());
    }

    private JsonNode deleteFile() throws IOException {
        var change = new Change();
        var blob = change.delete(input.get("filePath").asText());
        return change.commit().put("blobId", blob.name()).put("filePath", input.get("filePath").asText());
    }

    private JsonNode createCommit() throws IOException {
        var change = new Change();
        if (input.path("putFiles").isEmpty() && input.path("deleteFiles").isEmpty()) {
            throw new AwsError("FileEntryRequiredException", "At least one file is required");
        }
        for (var file : input.path("putFiles")) {
            change.put(file.get("filePath").asText(), file.path("fileContent").asText(),
                    file.path("fileMode").asText("NORMAL"));
        }
        for (var file : input.path("deleteFiles")) change.delete(file.get("filePath").asText());
        return change.commit();
    }

    // Merges

    private JsonNode unreferencedMerge() throws IOException {
        var squash = input.get("mergeOption").asText().equals("SQUASH_MERGE");
        var commit = merge(commit(input.get("sourceCommitSpecifier").asText(), "CommitDoesNotExistException"),
                commit(input.get("destinationCommitSpecifier").asText(), "CommitDoesNotExistException"), squash);
        return ids(commit);
    }

    private JsonNode mergeBranches(String option) throws IOException {
        var source = commit(input.get("sourceCommitSpecifier").asText(), "CommitDoesNotExistException");
        var destination = commit(input.get("destinationCommitSpecifier").asText(), "CommitDoesNotExistException");
        var reference = reference("MergeBranches", input);
        var branch = reference == null ? null : branch(reference);
        var commit = merged(option, source, destination);
        if (branch != null) set(branch, commit);
        return ids(commit);
    }

    /** @param option FastForward, Squash or ThreeWay */
    ObjectId merged(String option, RevCommit source, RevCommit destination) throws IOException {
        if (!option.equals("FastForward")) return merge(source, destination, option.equals("Squash"));
        if (!destination.name().equals(repo.mergeBase(source.name(), destination.name()))) throw manual();
        return source;
    }

    private ObjectId merge(RevCommit source, RevCommit destination, boolean squash) throws IOException {
        var merger = (ThreeWayMerger) MergeStrategy.RECURSIVE.newMerger(repo.git(), true);
        if (!merger.merge(destination, source)) throw manual();
        return insert(repo.git().newObjectInserter(), merger.getResultTreeId(),
                squash ? List.of(destination) : List.of(destination, source));
    }

    private static AwsError manual() {
        return new AwsError("ManualMergeRequiredException",
                "The pull request cannot be merged automatically into the destination branch.");
    }

    private ObjectNode ids(ObjectId commit) throws IOException {
        try (var walk = new RevWalk(repo.git())) {
            return Models.JSON.createObjectNode().put("commitId", commit.name())
                    .put("treeId", walk.parseCommit(commit).getTree().name());
        }
    }

    private ObjectId insert(ObjectInserter inserter, ObjectId tree, List<? extends ObjectId> parents)
            throws IOException {
        var own = caller.arn().substring(caller.arn().lastIndexOf('/') + 1);
        var person = new PersonIdent(input.path("authorName").asText(input.path("name").asText(own)),
                input.path("email").asText(""), aws.now(), ZoneOffset.UTC);
        var commit = new CommitBuilder();
        commit.setTreeId(tree);
        commit.setParentIds(parents);
        commit.setAuthor(person);
        commit.setCommitter(person);
        commit.setMessage(input.path("commitMessage").asText(""));
        var id = inserter.insert(commit);
        inserter.flush();
        return id;
    }

    private void set(String branch, ObjectId commit) throws IOException {
        var before = tip(branch);
        repo.update(repo.git(), repo.git().newObjectInserter(), branch, commit);
        repo.changed(branch, before, caller);
    }
}
