///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 17+
//DESCRIPTION Distils the service models in com.amazonaws:aws-java-sdk-models to what the embedded AWS offers.
//DEPS com.amazonaws:aws-java-sdk-models:1.12.797
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * Writes tests/localaws/models/models.json: {@code ./jbang tests/localaws/models/DistilModels.java}, from the
 * repository's root. To offer one more operation, name it below and run this again. Documentation is dropped;
 * constraints are kept for what requests are made of; the shapes of answers keep only what their XML needs.
 */
class DistilModels {
    static final ObjectMapper JSON = new ObjectMapper().enable(SerializationFeature.ORDER_MAP_ENTRIES_BY_KEYS);

    static final Map<String, String> SOURCES = new TreeMap<>(Map.ofEntries(
            Map.entry("cloudtrail", "cloudtrail-2013-11-01"),
            Map.entry("sts", "sts-2011-06-15"),
            Map.entry("cloudwatch", "monitoring-2010-08-01"),
            Map.entry("kms", "kms-2014-11-01"),
            Map.entry("codebuild", "codebuild-2016-10-06"),
            Map.entry("codecommit", "codecommit-2015-04-13"),
            Map.entry("ec2", "ec2-2016-11-15"),
            Map.entry("events", "events-2015-10-07"),
            Map.entry("iam", "iam-2010-05-08"),
            Map.entry("lambda", "lambda-2015-03-31"),
            Map.entry("logs", "logs-2014-03-28"),
            Map.entry("sns", "sns-2010-03-31")));

    static final Map<String, List<String>> OPERATIONS = Map.ofEntries(
            Map.entry("cloudtrail", words("""
                    CreateTrail DeleteTrail DescribeTrails GetEventSelectors GetTrailStatus PutEventSelectors
                    StartLogging StopLogging UpdateTrail""")),
            Map.entry("sts", words("AssumeRole GetCallerIdentity")),
            Map.entry("cloudwatch", words("""
                    DeleteAlarms DescribeAlarmHistory DescribeAlarms ListTagsForResource PutMetricAlarm SetAlarmState
                    TagResource""")),
            Map.entry("kms", words("""
                    CancelKeyDeletion CreateAlias CreateKey DeleteAlias DescribeKey DisableKey DisableKeyRotation
                    EnableKey EnableKeyRotation Encrypt GetKeyPolicy GetKeyRotationStatus ListAliases ListGrants
                    ListKeys ListResourceTags PutKeyPolicy ScheduleKeyDeletion TagResource UntagResource
                    UpdateKeyDescription""")),
            Map.entry("codebuild", words("""
                    BatchGetBuilds BatchGetProjects CreateProject DeleteProject ListBuildsForProject ListProjects
                    StartBuild StopBuild UpdateProject""")),
            Map.entry("codecommit", words("""
                    AssociateApprovalRuleTemplateWithRepository BatchAssociateApprovalRuleTemplateWithRepositories
                    BatchDisassociateApprovalRuleTemplateFromRepositories BatchGetRepositories
                    CreateApprovalRuleTemplate CreateBranch CreateCommit CreatePullRequest CreatePullRequestApprovalRule
                    CreateRepository CreateUnreferencedMergeCommit DeleteApprovalRuleTemplate DeleteBranch DeleteFile
                    DeletePullRequestApprovalRule DeleteRepository DescribePullRequestEvents
                    DisassociateApprovalRuleTemplateFromRepository EvaluatePullRequestApprovalRules
                    GetApprovalRuleTemplate GetBranch GetCommentsForPullRequest GetCommit GetFile GetPullRequest
                    GetPullRequestApprovalStates GetPullRequestOverrideState GetRepository GetRepositoryTriggers
                    ListApprovalRuleTemplates ListAssociatedApprovalRuleTemplatesForRepository ListBranches
                    ListPullRequests ListRepositories ListRepositoriesForApprovalRuleTemplate ListTagsForResource
                    MergeBranchesByFastForward MergeBranchesBySquash MergeBranchesByThreeWay
                    MergePullRequestByFastForward MergePullRequestBySquash MergePullRequestByThreeWay
                    OverridePullRequestApprovalRules PutFile PutRepositoryTriggers TagResource TestRepositoryTriggers
                    UntagResource UpdateApprovalRuleTemplateContent UpdateApprovalRuleTemplateDescription
                    UpdateApprovalRuleTemplateName UpdateDefaultBranch UpdatePullRequestApprovalRuleContent
                    UpdatePullRequestApprovalState UpdatePullRequestStatus UpdateRepositoryDescription
                    UpdateRepositoryEncryptionKey UpdateRepositoryName""")),
            Map.entry("ec2", words("""
                    AuthorizeSecurityGroupIngress CreateSecurityGroup CreateTags CreateVpcEndpoint DeleteSecurityGroup
                    DeleteTags DeleteVpcEndpoints DescribeSecurityGroupRules DescribeSecurityGroups DescribeSubnets
                    DescribeTags DescribeVpcAttribute DescribeVpcEndpointServices DescribeVpcEndpoints DescribeVpcs
                    ModifyVpcEndpoint RevokeSecurityGroupIngress UpdateSecurityGroupRuleDescriptionsIngress""")),
            Map.entry("events", words("""
                    DeleteRule DescribeRule DisableRule EnableRule ListRuleNamesByTarget ListRules ListTagsForResource
                    ListTargetsByRule PutEvents PutRule PutTargets RemoveTargets TagResource TestEventPattern
                    UntagResource""")),
            Map.entry("iam", words("""
                    AttachGroupPolicy AttachRolePolicy AttachUserPolicy CreatePolicy CreatePolicyVersion
                    CreateRole DeleteGroupPolicy DeletePolicy DeletePolicyVersion DeleteRole DeleteRolePolicy
                    DeleteUserPolicy
                    DetachGroupPolicy DetachRolePolicy DetachUserPolicy GetAccountAuthorizationDetails GetGroup
                    GetGroupPolicy GetPolicy
                    GetPolicyVersion GetRole GetRolePolicy GetUser GetUserPolicy ListAttachedGroupPolicies
                    ListAttachedRolePolicies ListAttachedUserPolicies ListEntitiesForPolicy ListGroupPolicies
                    ListPolicyVersions ListRolePolicies ListRoles ListUserPolicies ListUsers PutGroupPolicy
                    PutRolePolicy PutUserPolicy SetDefaultPolicyVersion SimulateCustomPolicy SimulatePrincipalPolicy
                    TagPolicy UpdateAssumeRolePolicy""")),
            Map.entry("logs", words("""
                    CreateLogGroup DeleteLogGroup DescribeLogGroups GetLogEvents PutRetentionPolicy""")),
            Map.entry("sns", words("""
                    ConfirmSubscription CreateTopic DeleteTopic GetSubscriptionAttributes GetTopicAttributes
                    ListSubscriptionsByTopic ListTagsForResource ListTopics Publish SetTopicAttributes Subscribe
                    TagResource Unsubscribe UntagResource""")),
            Map.entry("lambda", words("""
                    AddPermission CreateAlias CreateFunction GetFunction GetFunctionConfiguration GetPolicy
                    ListFunctions PublishVersion RemovePermission""")));

    static List<String> words(String text) {
        return List.of(text.strip().split("\\s+"));
    }

    public static void main(String[] args) throws Exception {
        var out = JSON.createObjectNode();
        out.put("_source",
                "Distilled from com.amazonaws:aws-java-sdk-models:1.12.797, Copyright Amazon.com, Inc. or its "
                        + "affiliates, "
                + "Apache License 2.0, by tests/localaws/models/DistilModels.java");
        for (var source : SOURCES.entrySet()) {
            JsonNode model;
            try (var in = DistilModels.class.getResourceAsStream("/models/" + source.getValue() + "-model.json")) {
                model = JSON.readTree(in);
            }
            out.set(source.getKey(), distil(source.getKey(), model));
        }
        var file = Path.of("tests/localaws/models/models.json");
        Files.writeString(file, JSON.writeValueAsString(JSON.treeToValue(out, Object.class)) + "\n");
        System.err.println(file + ": " + Files.size(file) + " bytes");
    }

    static ObjectNode distil(String service, JsonNode model) {
        var out = JSON.createObjectNode();
        var metadata = model.get("metadata");
        for (var name : List.of("protocol", "apiVersion", "targetPrefix", "xmlNamespace"))
            if (metadata.has(name)) out.set(name, metadata.get(name));
        // newer clients of CloudWatch speak CBOR
        if (service.equals("cloudwatch")) out.put("protocol", "query");
        var inputs = new TreeSet<String>();
        var outputs = new TreeSet<String>();
        for (var name : OPERATIONS.get(service)) {
            var operation = model.at("/operations/" + name);
            if (operation.isMissingNode()) throw new IllegalArgumentException(service + " has no operation " + name);
            var kept = out.withObject("/operations/" + name);
            if (metadata.path("protocol").asText().equals("rest-json")) kept.set("http", operation.get("http"));
            if (operation.has("input")) {
                kept.put("input", operation.at("/input/shape").asText());
                inputs.add(operation.at("/input/shape").asText());
            }
            if (operation.has("output")) {
                kept.put("output", operation.at("/output/shape").asText());
                if (operation.at("/output/resultWrapper").isTextual())
                    kept.put("resultWrapper", operation.at("/output/resultWrapper").asText());
                outputs.add(operation.at("/output/shape").asText());
            }
            for (var error : operation.path("errors")) kept.withArray("errors").add(error.get("shape").asText());
        }
        keep(model, inputs, out, true);
        keep(model, outputs, out, false);
        return out;
    }

    static void keep(JsonNode model, TreeSet<String> roots, ObjectNode out, boolean constraints) {
        var open = new ArrayDeque<>(roots);
        var done = new TreeSet<String>();
        while (!open.isEmpty()) {
            var name = open.pop();
            if (!done.add(name)) continue;
            var shape = model.at("/shapes/" + name);
            var kept = out.withObject("/shapes/" + name);
            kept.set("type", shape.get("type"));
            if (constraints)
                for (var rule : List.of("required", "min", "max", "pattern", "enum"))
                    if (shape.has(rule)) kept.set(rule, shape.get(rule));
            if (shape.path("flattened").asBoolean()) kept.put("flattened", true);
            shape.path("members").properties().forEach(member -> {
                var m = kept.withObject("/members/" + member.getKey());
                for (var part : List.of("shape", "location", "locationName", "queryName"))
                    if (member.getValue().has(part)) m.set(part, member.getValue().get(part));
                open.add(member.getValue().get("shape").asText());
            });
            for (var part : List.of("member", "key", "value")) {
                if (!shape.has(part)) continue;
                var m = kept.withObject("/" + part);
                m.set("shape", shape.get(part).get("shape"));
                if (shape.get(part).has("locationName")) m.set("locationName", shape.get(part).get("locationName"));
                open.add(shape.get(part).get("shape").asText());
            }
        }
    }
}
