///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Carries a block that was edited in one script into every other script that has it: ./jbang sync [--check]
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:cloudtrail
//DEPS software.amazon.awssdk:cloudwatch
//DEPS software.amazon.awssdk:cloudwatchlogs
//DEPS software.amazon.awssdk:codebuild
//DEPS software.amazon.awssdk:codecommit
//DEPS software.amazon.awssdk:ec2
//DEPS software.amazon.awssdk:eventbridge
//DEPS software.amazon.awssdk:iam
//DEPS software.amazon.awssdk:kms
//DEPS software.amazon.awssdk:lambda
//DEPS software.amazon.awssdk:s3
//DEPS software.amazon.awssdk:sns
//DEPS software.amazon.awssdk:sts
//DEPS software.amazon.awssdk:sso
//DEPS software.amazon.awssdk:ssooidc
//DEPS software.amazon.awssdk:signin
//DEPS software.amazon.awssdk:url-connection-client
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS info.picocli:picocli:4.7.7
//DEPS org.eclipse.jgit:org.eclipse.jgit:7.8.1.202611041320-r
//DEPS org.slf4j:slf4j-nop:2.0.17
//RUNTIME_OPTIONS -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djdk.console=java.base

import com.sun.source.tree.BlockTree;
import com.sun.source.tree.ClassTree;
import com.sun.source.tree.CompilationUnitTree;
import com.sun.source.tree.IdentifierTree;
import com.sun.source.tree.LambdaExpressionTree;
import com.sun.source.tree.MethodTree;
import com.sun.source.tree.StatementTree;
import com.sun.source.tree.Tree;
import com.sun.source.tree.TypeParameterTree;
import com.sun.source.tree.VariableTree;
import com.sun.source.util.JavacTask;
import com.sun.source.util.SourcePositions;
import com.sun.source.util.TreeScanner;
import com.sun.source.util.Trees;
import java.io.IOException;
import java.io.PrintWriter;
import java.lang.reflect.Modifier;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.UnaryOperator;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/**
 * The blocks of text that the scripts share, each between {@code //region The same in every script: NAME} and
 * {@code //endregion}. A block is edited in one script; {@code ./jbang sync} carries it into the others, with the
 * imports that it needs, and removes imports that nothing uses. The dependencies are those of all scripts, by which it
 * finds what an import with * gives; the scripts themselves need not compile yet.
 */
@Command(name = "./jbang sync", sortOptions = false,
        description = "Carries a block that was edited in one script into every other script that has it.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:every copy of every block is the same", "1:copies differ", "2:wrong usage"},
        footerHeading = "%nExamples:%n",
        footer = {"  ./jbang sync", "  ./jbang sync --from CreateKmsKey --block policies"})
class SharedBlocks implements Callable<Integer> {
    /** All blocks, in the order in which they stand in every script that has them. */
    static final List<String> ORDER = List.of("command line", "AWS clients", "output and errors", "lists for people",
            "waiting for AWS", "AWS CLI commands", "threads", "steps in parallel", "batches", "batches of repositories",
            "changes", "tags", "usual tags", "ARNs", "ids of accounts", "names of buckets", "names of repositories",
            "existing repositories", "names of branches", "tags of repositories", "tagging of repositories",
            "ids of keys", "ids of customer managed keys", "usable keys", "keys of repositories", "IAM principals",
            "policies", "policy files", "wildcards", "policies for services", "sizes of key policies",
            "key policy files", "protected branches", "IAM's policy simulator", "deleted principals",
            "policies for other accounts", "AWS structures as JSON", "targets of rules", "topics of alerts",
            "rules of alerts", "EC2", "approval rule templates", "globs of repositories", "many repositories",
            "backups", "reading of backups", "Git");

    @Option(names = "--check", description = "Changes nothing; prints what differs.")
    boolean check;
    @Option(names = "--from", paramLabel = "SCRIPT", description = "The script whose blocks are right, e.g. "
            + "CreateKmsKey. Default: the one that differs from what was committed last.")
    String from;
    @Option(names = "--block", paramLabel = "NAME", description = "With --from: this block alone.")
    String block;
    @Option(names = {"-h", "--help"}, usageHelp = true, description = "Prints this help.")
    boolean help;
    @Spec
    CommandSpec spec;

    private final Path root;
    /** Asks a question on the terminal; null if there is none. */
    private final UnaryOperator<String> terminal;
    private final Map<String, ScriptFile> scripts = new TreeMap<>();

    SharedBlocks(Path root, UnaryOperator<String> terminal) {
        this.root = root;
        this.terminal = terminal;
    }

    public static void main(String[] args) {
        var console = System.console();
        UnaryOperator<String> terminal = console == null ? null : question -> console.readLine("%s", question);
        System.exit(new SharedBlocks(Path.of(""), terminal).commandLine().execute(args));
    }

    CommandLine commandLine() {
        return new CommandLine(this)
                .setParameterExceptionHandler((wrong, words) -> {
                    err().println("sync: " + wrong.getMessage() + "; see ./jbang sync --help");
                    return CommandLine.ExitCode.USAGE;
                })
                .setExecutionExceptionHandler((failure, command, words) -> {
                    if (!(failure instanceof Failure)) throw failure;
                    err().println("sync: " + failure.getMessage());
                    return 1;
                });
    }

    private PrintWriter err() {
        return spec.commandLine().getErr();
    }

    private PrintWriter out() {
        return spec.commandLine().getOut();
    }

    @Override
    public Integer call() throws IOException {
        read();
        checkOptions();
        if (check) {
            var differences = differences();
            differences.forEach(out()::println);
            return differences.isEmpty() ? 0 : 1;
        }
        var sources = new LinkedHashMap<String, ScriptFile>();
        for (var name : blockNames()) {
            var source = from == null ? source(name) : forcedSource(name);
            if (source != null) sources.put(name, source);
        }
        var before = List.copyOf(scripts.values());
        scripts.replaceAll((name, script) -> script.withBlocks(sources));
        for (var name : blockNames()) importEverywhere(name, sources.get(name));
        scripts.replaceAll((name, script) -> script.without(script.unusedImports()));
        for (var script : before) {
            var synced = scripts.get(script.name);
            if (synced == script) continue;
            write(script.file, synced.text);
            report(script, synced, sources);
        }
        if (List.copyOf(scripts.values()).equals(before)) out().println("nothing to do");
        var differences = differences();
        differences.forEach(difference -> err().println("sync: " + difference));
        return differences.isEmpty() ? 0 : 1;
    }

    private void checkOptions() {
        if (block != null && from == null) throw wrong("--block needs --from");
        if (check && from != null) throw wrong("--check needs no --from");
        if (from == null) return;
        from = from.replaceAll(".*/|\\.java$", "");
        if (!scripts.containsKey(from)) {
            throw wrong("--from '" + from + "' must be one of " + String.join(", ", scripts.keySet()));
        }
        var blocks = scripts.get(from).blocks.keySet();
        if (block != null && !blocks.contains(block)) {
            throw wrong("--block '" + block + "' must be one of those of " + from + ": " + String.join(", ", blocks));
        }
    }

    private ParameterException wrong(String message) {
        return new ParameterException(spec.commandLine(), message);
    }

    /** Reads all scripts below the root. */
    SharedBlocks read() throws IOException {
        scripts.clear();
        try (var files = Files.list(root.resolve("scripts"))) {
            for (var file : files.filter(file -> file.toString().endsWith(".java")).sorted().toList()) {
                var script = new ScriptFile(file, Files.readString(file));
                scripts.put(script.name, script);
            }
        }
        return this;
    }

    Collection<ScriptFile> scripts() {
        return scripts.values();
    }

    Set<String> blockNames() {
        return scripts.values().stream().flatMap(script -> script.blocks.keySet().stream())
                .collect(Collectors.toCollection(LinkedHashSet::new));
    }

    // Which copy is right

    /** The different texts of a block, each with the scripts that have it; the most frequent first. */
    private Map<String, List<ScriptFile>> versions(String name) {
        var versions = scripts.values().stream().filter(script -> script.blocks.containsKey(name))
                .collect(Collectors.groupingBy(script -> script.block(name), LinkedHashMap::new, Collectors.toList()));
        return versions.entrySet().stream()
                .sorted(Comparator.comparing(version -> -version.getValue().size()))
                .collect(Collectors.toMap(Map.Entry::getKey, Map.Entry::getValue, (a, b) -> a, LinkedHashMap::new));
    }

    /** Everything that {@code ./jbang sync} would mend. */
    List<String> differences() {
        var differences = new ArrayList<String>();
        for (var name : blockNames()) {
            var versions = new ArrayList<>(versions(name).entrySet());
            var first = versions.get(0);
            for (var other : versions.subList(1, versions.size())) {
                differences.add("block '" + name + "' of " + names(other.getValue()) + " differs from that of "
                        + names(first.getValue()) + ":\n" + difference(first.getKey(), other.getKey()));
            }
        }
        for (var script : scripts.values()) {
            for (var unused : script.unusedImports()) {
                differences.add(script.name + " does not use its import " + unused.name());
            }
        }
        differences.addAll(contradictions());
        return differences;
    }

    private static String names(Collection<ScriptFile> scripts) {
        return scripts.stream().map(script -> script.name).collect(Collectors.joining(", "));
    }

    /** The lines that only one of two texts has, twenty at most. */
    static String difference(String one, String other) {
        var ones = one.lines().toList();
        var others = other.lines().toList();
        var common = new int[ones.size() + 1][others.size() + 1]; // the most lines that both have from there on
        for (var i = ones.size() - 1; i >= 0; i--) {
            for (var j = others.size() - 1; j >= 0; j--) {
                common[i][j] = ones.get(i).equals(others.get(j)) ? common[i + 1][j + 1] + 1
                        : Math.max(common[i + 1][j], common[i][j + 1]);
            }
        }
        var lines = new ArrayList<String>();
        var i = 0;
        var j = 0;
        while (i < ones.size() || j < others.size()) {
            var takesOne = j == others.size() || i < ones.size() && common[i + 1][j] >= common[i][j + 1];
            if (i < ones.size() && j < others.size() && ones.get(i).equals(others.get(j))) {
                i++;
                j++;
            } else {
                lines.add(takesOne ? "-" + ones.get(i++) : "+" + others.get(j++));
            }
        }
        return lines.stream().limit(20).collect(Collectors.joining("\n"))
                + (lines.size() > 20 ? "\n... " + (lines.size() - 20) + " more lines" : "");
    }

    /** The script whose copy of a block is right; null if there is nothing to carry. */
    private ScriptFile source(String name) {
        var versions = versions(name);
        if (versions.size() == 1) return null;
        var committed = committed(name);
        var edited = versions.entrySet().stream().filter(version -> !committed.contains(version.getKey())).toList();
        if (edited.size() == 1) return edited.get(0).getValue().get(0);
        var choices = edited.isEmpty() || committed.isEmpty() ? List.copyOf(versions.entrySet()) : edited;
        return ask(name, choices);
    }

    private ScriptFile forcedSource(String name) {
        var script = scripts.get(from);
        return script.blocks.containsKey(name) && (block == null || block.equals(name)) ? script : null;
    }

    private ScriptFile ask(String name, List<Map.Entry<String, List<ScriptFile>>> choices) {
        err().println("sync: which copy of the block '" + name + "' is right cannot be told from Git's HEAD:");
        for (var i = 0; i < choices.size(); i++) {
            err().println("  " + (i + 1) + ": that of " + names(choices.get(i).getValue()) + "\n"
                    + (i == 0 ? "" : difference(choices.get(0).getKey(), choices.get(i).getKey())));
        }
        if (terminal == null) {
            throw new Failure("say which one is right: ./jbang sync --from SCRIPT --block '" + name + "'");
        }
        var answer = Objects.requireNonNullElse(terminal.apply("Which one [1-" + choices.size() + "]? "), "").strip();
        if (!answer.matches("[1-9]") || Integer.parseInt(answer) > choices.size()) {
            throw new Failure("'" + answer + "' is none of them; nothing was changed");
        }
        return choices.get(Integer.parseInt(answer) - 1).getValue().get(0);
    }

    /** The texts that a block has in Git's HEAD; none if there is no such commit. */
    private Set<String> committed(String name) {
        return scripts.keySet().stream().map(this::committedText).map(ScriptFile::blockTexts)
                .filter(texts -> texts.containsKey(name)).map(texts -> texts.get(name)).collect(Collectors.toSet());
    }

    private String committedText(String script) {
        try {
            var git = new ProcessBuilder("git", "show", "HEAD:./scripts/" + script + ".java")
                    .directory(root.toAbsolutePath().toFile()).redirectError(ProcessBuilder.Redirect.DISCARD).start();
            var text = new String(git.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            return git.waitFor() == 0 ? text : "";
        } catch (IOException e) {
            throw new Failure("git could not be asked: " + e.getMessage());
        } catch (InterruptedException e) {
            throw new Failure("interrupted");
        }
    }

    // Imports

    private List<ScriptFile> scriptsWith(String block) {
        return scripts.values().stream().filter(script -> script.blocks.containsKey(block)).toList();
    }

    /** Gives every script that has a block the imports of the block's source, or else of a script that has them. */
    private void importEverywhere(String block, ScriptFile source) {
        var with = scriptsWith(block);
        var givers = source == null ? with : Stream.concat(Stream.of(source), with.stream()).toList();
        for (var script : with) {
            var missing = new LinkedHashSet<Import>();
            for (var used : script.namesIn(block)) {
                if (!script.knows(used)) {
                    givers.stream().filter(giver -> giver.knows(used)).findFirst()
                            .ifPresent(giver -> missing.addAll(giver.importsOf(used)));
                }
            }
            scripts.put(script.name, script.with(missing));
        }
    }

    /** Names of a block that are not the same type in all scripts: the compiler decides whether that is a fault. */
    private List<String> contradictions() {
        var contradictions = new ArrayList<String>();
        for (var block : blockNames()) {
            var scripts = scriptsWith(block);
            var names = scripts.stream().flatMap(script -> script.namesIn(block).stream()).sorted().distinct().toList();
            for (var name : names) {
                var scriptsByTypes = scripts.stream().collect(Collectors.groupingBy(script -> script.types(name),
                        LinkedHashMap::new, Collectors.toList()));
                if (scriptsByTypes.size() > 1 || scripts.get(0).types(name).size() > 1) {
                    contradictions.add("block '" + block + "': " + name + " is " + scriptsByTypes.entrySet().stream()
                            .map(each -> described(each.getKey()) + " in " + names(each.getValue()))
                            .collect(Collectors.joining(", ")));
                }
            }
        }
        return contradictions;
    }

    private static String described(Set<String> types) {
        return types.isEmpty() ? "unknown" : String.join(" or ", types);
    }

    // What was changed

    /** Replaces a file in one step; the run bit stays. */
    private static void write(Path file, String text) throws IOException {
        var written = Files.createTempFile(file.getParent(), file.getFileName().toString(), "");
        try {
            Files.writeString(written, text);
            Files.setPosixFilePermissions(written, Files.getPosixFilePermissions(file));
            Files.move(written, file, StandardCopyOption.ATOMIC_MOVE);
        } finally {
            Files.deleteIfExists(written);
        }
    }

    private void report(ScriptFile before, ScriptFile after, Map<String, ScriptFile> sources) {
        after.blocks.keySet().stream().filter(name -> !after.block(name).equals(before.block(name)))
                .forEach(name -> out().println(before.name + ": block '" + name + "' of " + sources.get(name).name));
        after.imports.stream().filter(each -> !before.imports.contains(each))
                .forEach(each -> out().println(before.name + ": + " + each));
        before.imports.stream().filter(each -> !after.imports.contains(each))
                .forEach(each -> out().println(before.name + ": - " + each));
    }

    static class Failure extends RuntimeException {
        Failure(String message) {
            super(message);
        }
    }

    // A script's text

    /** The characters of a block, without the lines of its markers. */
    record Block(int start, int end) { }

    /** An import, such as {@code java.util.List} or {@code java.util.*}. */
    record Import(boolean isStatic, String name) {
        boolean isOnDemand() {
            return name.endsWith(".*");
        }

        /** What the simple name would be by this import. */
        String qualified(String simpleName) {
            return name.substring(0, name.lastIndexOf('.') + 1) + simpleName;
        }

        boolean isStaticOf(String member) {
            return isStatic && simple(name).equals(member);
        }

        boolean gives(String qualified) {
            return !isStatic && (isOnDemand() ? qualified(simple(qualified)) : name).equals(qualified);
        }

        @Override
        public String toString() {
            return "import " + (isStatic ? "static " : "") + name + ";";
        }
    }

    /** A name that is not behind a dot. */
    record Name(String text, int position) { }

    /** @param body as the compiler prints it: without comments, in its own layout */
    record Method(String signature, String body, int statements, int position) { }

    static String simple(String qualified) {
        return qualified.substring(qualified.lastIndexOf('.') + 1);
    }

    /** A script as the compiler's parser sees it; does not change. */
    static final class ScriptFile {
        private static final Pattern BLOCK =
                Pattern.compile("(?ms)^    //region The same in every script: ([^\n]+)\n(.*?)^    //endregion$");
        private static final Pattern MARKER = Pattern.compile("(?m)^[ \t]*//[ \t]*(?:end)?region\\b.*$");
        private static final Pattern IMPORT = Pattern.compile("(?m)^import (static )?([\\w.]+(?:\\.\\*)?);\n");
        private static final Pattern LINK = Pattern.compile("(?:\\{@link(?:plain)?|@see|@throws)\\s+(\\w+)");
        /** What {@link #exists} has found: the same names are asked for in every script. */
        private static final Map<String, Boolean> EXISTING = new ConcurrentHashMap<>();

        final Path file;
        final String name;
        final String text;
        final Map<String, Block> blocks = new LinkedHashMap<>();
        final List<Import> imports = new ArrayList<>();
        final List<Name> names = new ArrayList<>();
        final List<Method> methods = new ArrayList<>();
        private final Set<String> declared = new TreeSet<>();

        ScriptFile(Path file, String text) {
            this.file = file;
            this.text = text;
            name = file.getFileName().toString().replace(".java", "");
            findBlocks();
            IMPORT.matcher(text).results()
                    .forEach(found -> imports.add(new Import(found.group(1) != null, found.group(2))));
            LINK.matcher(text).results().forEach(found -> names.add(new Name(found.group(1), found.start())));
            parse();
        }

        static Map<String, String> blockTexts(String text) {
            return BLOCK.matcher(text).results()
                    .collect(Collectors.toMap(found -> found.group(1), found -> found.group(2), (a, b) -> a));
        }

        private void findBlocks() {
            var markers = MARKER.matcher(text).results().map(found -> found.start()).toList();
            var expected = new ArrayList<Integer>();
            for (var found : BLOCK.matcher(text).results().toList()) {
                expected.addAll(List.of(found.start(), found.end(2)));
                var earlier = blocks.put(found.group(1), new Block(found.start(2), found.end(2)));
                if (earlier != null) throw failure(found.start(), "the block '" + found.group(1) + "' is here twice");
            }
            for (var marker : markers) {
                if (!expected.contains(marker)) {
                    throw failure(marker, "a block must be between '    //region The same in every script: NAME' and "
                            + "'    //endregion', outside of any other one");
                }
            }
        }

        private void parse() {
            var source = new SimpleJavaFileObject(URI.create("string:///" + name + ".java"),
                    JavaFileObject.Kind.SOURCE) {
                @Override
                public CharSequence getCharContent(boolean ignoreEncodingErrors) {
                    return text;
                }
            };
            var problems = new DiagnosticCollector<JavaFileObject>();
            try {
                var task = (JavacTask) ToolProvider.getSystemJavaCompiler().getTask(null, null, problems, List.of(),
                        null, List.of(source));
                var unit = task.parse().iterator().next();
                for (var problem : problems.getDiagnostics()) {
                    if (problem.getKind() == Diagnostic.Kind.ERROR) {
                        throw failure((int) Math.max(0, problem.getPosition()), problem.getMessage(null));
                    }
                }
                var scanner = new Scanner(unit, Trees.instance(task).getSourcePositions());
                unit.getTypeDecls().forEach(type -> scanner.scan(type, null));
            } catch (IOException e) {
                throw new Failure(file + ": " + e.getMessage());
            }
        }

        private Failure failure(int position, String message) {
            var lines = text.substring(0, position).split("\n", -1).length;
            return new Failure(file + ":" + lines + ": " + message);
        }

        private final class Scanner extends TreeScanner<Void, Void> {
            private final CompilationUnitTree unit;
            private final SourcePositions positions;
            private int statements;

            Scanner(CompilationUnitTree unit, SourcePositions positions) {
                this.unit = unit;
                this.positions = positions;
            }

            private int start(Tree tree) {
                return (int) positions.getStartPosition(unit, tree);
            }

            @Override
            public Void scan(Tree tree, Void nothing) {
                if (tree instanceof StatementTree && !(tree instanceof BlockTree)) statements++;
                return super.scan(tree, nothing);
            }

            @Override
            public Void visitLambdaExpression(LambdaExpressionTree tree, Void nothing) {
                statements -= tree.getParameters().size();
                return super.visitLambdaExpression(tree, nothing);
            }

            @Override
            public Void visitIdentifier(IdentifierTree tree, Void nothing) {
                names.add(new Name(tree.getName().toString(), start(tree)));
                return super.visitIdentifier(tree, nothing);
            }

            @Override
            public Void visitClass(ClassTree tree, Void nothing) {
                declared.add(tree.getSimpleName().toString());
                return super.visitClass(tree, nothing);
            }

            @Override
            public Void visitTypeParameter(TypeParameterTree tree, Void nothing) {
                declared.add(tree.getName().toString());
                return super.visitTypeParameter(tree, nothing);
            }

            @Override
            public Void visitMethod(MethodTree tree, Void nothing) {
                var before = statements + tree.getParameters().size();
                super.visitMethod(tree, nothing);
                if (tree.getBody() == null) return null;
                var parameters = tree.getParameters().stream().map(parameter -> parameter.getType().toString());
                methods.add(new Method(tree.getReturnType() + " " + tree.getName() + "("
                        + parameters.collect(Collectors.joining(", ")) + ")", withoutNames(tree),
                        statements - before, start(tree)));
                return null;
            }

            /** The body as the compiler prints it, with numbers for the names of parameters and local variables. */
            private static String withoutNames(MethodTree method) {
                var names = new LinkedHashSet<String>();
                new TreeScanner<Void, Void>() {
                    @Override
                    public Void visitVariable(VariableTree variable, Void nothing) {
                        names.add(variable.getName().toString());
                        return super.visitVariable(variable, nothing);
                    }
                }.scan(method, null);
                var body = method.getBody().toString();
                var number = 0;
                for (var name : names) {
                    body = body.replaceAll("(?<![\\w.])" + name + "\\b(?!\\()", "\\$" + number++);
                }
                return body;
            }
        }

        String block(String name) {
            var found = blocks.get(name);
            return text.substring(found.start(), found.end());
        }

        boolean isInBlock(int position) {
            return blocks.values().stream().anyMatch(b -> b.start() <= position && position < b.end());
        }

        Set<String> namesIn(String block) {
            var found = blocks.get(block);
            return names.stream().filter(n -> found.start() <= n.position() && n.position() < found.end())
                    .map(Name::text).collect(Collectors.toCollection(TreeSet::new));
        }

        /** The types that a simple name may be here: none if it is no type, several if the compiler must refuse it. */
        Set<String> types(String simpleName) {
            if (declared.contains(simpleName)) return Set.of("declared");
            if (!Character.isUpperCase(simpleName.charAt(0))) return Set.of();
            var single = imports.stream().filter(each -> !each.isOnDemand() && each.gives(each.qualified(simpleName)))
                    .map(Import::name).collect(Collectors.toCollection(TreeSet::new));
            if (!single.isEmpty()) return single;
            return Stream.concat(Stream.of(new Import(false, "java.lang.*")), imports.stream())
                    .filter(each -> each.isOnDemand() && !each.isStatic()).map(each -> each.qualified(simpleName))
                    .filter(type -> EXISTING.computeIfAbsent(type, ScriptFile::exists))
                    .collect(Collectors.toCollection(TreeSet::new));
        }

        boolean knows(String simpleName) {
            return !types(simpleName).isEmpty() || imports.stream().anyMatch(each -> each.isStaticOf(simpleName));
        }

        /** The imports by which a simple name is known here. */
        List<Import> importsOf(String simpleName) {
            var types = types(simpleName);
            return imports.stream()
                    .filter(each -> each.isStaticOf(simpleName) || types.stream().anyMatch(each::gives)).toList();
        }

        /** Whether there is a public type of this name; if it is nested, the JVM has $ for the last dots. */
        private static boolean exists(String qualified) {
            var binary = qualified;
            while (binary.contains(".")) {
                try {
                    var type = Class.forName(binary, false, ScriptFile.class.getClassLoader());
                    return Modifier.isPublic(type.getModifiers());
                } catch (ClassNotFoundException | LinkageError e) {
                    binary = binary.replaceFirst("\\.(?=[^.]*$)", "\\$");
                }
            }
            return false;
        }

        List<Import> unusedImports() {
            var used = names.stream().map(Name::text).distinct().flatMap(name -> importsOf(name).stream()).toList();
            return imports.stream().filter(each -> !used.contains(each)).toList();
        }

        /** With the blocks that it has of others. */
        ScriptFile withBlocks(Map<String, ScriptFile> sources) {
            var result = new StringBuilder(text);
            var names = new ArrayList<>(blocks.keySet());
            Collections.reverse(names); // from the end, so that the others stay where they are
            for (var each : names) {
                if (sources.containsKey(each)) {
                    result.replace(blocks.get(each).start(), blocks.get(each).end(), sources.get(each).block(each));
                }
            }
            return of(result.toString());
        }

        ScriptFile without(Collection<Import> unused) {
            return of(IMPORT.matcher(text).replaceAll(found -> unused.contains(
                    new Import(found.group(1) != null, found.group(2))) ? "" : "$0"));
        }

        /** With more imports, each before the first one that comes after it by its name. */
        ScriptFile with(Collection<Import> added) {
            var result = text;
            for (var each : added) {
                var lines = IMPORT.matcher(result).results()
                        .filter(found -> (found.group(1) != null) == each.isStatic()).toList();
                var position = lines.stream().filter(found -> found.group(2).compareTo(each.name()) > 0)
                        .mapToInt(found -> found.start()).findFirst()
                        .orElse(lines.isEmpty() ? result.indexOf("\n\n") + 2 : lines.get(lines.size() - 1).end());
                result = result.substring(0, position) + each + "\n" + result.substring(position);
            }
            return of(result);
        }

        private ScriptFile of(String newText) {
            return newText.equals(text) ? this : new ScriptFile(file, newText);
        }
    }
}
