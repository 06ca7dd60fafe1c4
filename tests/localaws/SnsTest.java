package localaws;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.HttpURLConnection;
import java.net.URI;
import java.time.Clock;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.sns.SnsClient;
import software.amazon.awssdk.services.sns.model.NotFoundException;
import software.amazon.awssdk.services.sns.model.StaleTagException;
import software.amazon.awssdk.services.sns.model.Subscription;
import software.amazon.awssdk.services.sns.model.Tag;

/** The embedded SNS, driven by the AWS SDK for Java: what AWS does, what it refuses, and what it loses. */
class SnsTest {
    static final LocalAws aws = LocalAws.start();
    static final String REGION = "eu-west-1";
    static final String ALARM = "arn:aws:cloudwatch:eu-west-1:111122223333:alarm:nightly";
    static final String RULE = "arn:aws:events:eu-west-1:111122223333:rule/nightly";
    static final AtomicInteger topics = new AtomicInteger();
    static SnsClient sns;

    @BeforeAll
    static void connect() {
        sns = client(AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY));
        aws.iam.createRole("Nobody");
    }

    @AfterAll
    static void stop() {
        sns.close();
        aws.close();
    }

    static SnsClient client(AwsCredentials credentials) {
        return SnsClient.builder().endpointOverride(aws.endpoint()).region(Region.of(REGION))
                .credentialsProvider(StaticCredentialsProvider.create(credentials))
                .httpClient(UrlConnectionHttpClient.create()).build();
    }

    static SnsClient as(String arn) {
        var login = aws.as(arn);
        return client(login.sessionToken() == null
                ? AwsBasicCredentials.create(login.accessKeyId(), login.secretAccessKey())
                : AwsSessionCredentials.create(login.accessKeyId(), login.secretAccessKey(), login.sessionToken()));
    }

    Sns.Topic topic;

    @BeforeEach
    void seed() {
        aws.clearFaults();
        aws.sns.pageSize = 3;
        aws.sns.staleCalls = 0;
        topic = aws.sns.createTopic(REGION, "builds-" + topics.incrementAndGet());
    }

    @AfterEach
    void resetClock() {
        aws.clock = Clock.systemUTC();
    }

    static void assertError(String code, String message, Runnable call) {
        var refused = assertThrows(AwsServiceException.class, call::run);
        assertEquals(code, refused.awsErrorDetails().errorCode(), refused.getMessage());
        assertTrue(refused.awsErrorDetails().errorMessage().contains(message), refused.getMessage());
    }

    static void assertInvalid(String message, Runnable call) {
        assertError("InvalidParameter", "Invalid parameter: " + message, call);
    }

    static Tag tag(String key, String value) {
        return Tag.builder().key(key).value(value).build();
    }

    /** A topic's policy of one statement. */
    static String policy(String effect, String principal, String action, String resource, String condition) {
        return """
                {"Version":"2012-10-17","Statement":[{"Sid":"S","Effect":"%s","Principal":%s,"Action":"%s",\
                "Resource":"%s"%s}]}""".formatted(effect, principal, action, resource,
                condition == null ? "" : ",\"Condition\":" + condition);
    }

    String publishBy(String service, String condition) {
        return policy("Allow", "{\"Service\":\"" + service + "\"}", "SNS:Publish", topic.arn, condition);
    }

    void setPolicy(String policy) {
        sns.setTopicAttributes(r -> r.topicArn(topic.arn).attributeName("Policy").attributeValue(policy));
    }

    Map<String, String> attributes() {
        return sns.getTopicAttributes(r -> r.topicArn(topic.arn)).attributes();
    }

    Sns.Subscription confirmed() {
        sns.subscribe(r -> r.topicArn(topic.arn).protocol("email").endpoint("ops@example.com"));
        var subscription = topic.subscription("ops@example.com");
        subscription.confirmed = true;
        return subscription;
    }

    // Topics

    @Test
    void createsATopicWithTheDefaultPolicyAndNoKey() {
        var arn = sns.createTopic(r -> r.name("Alerts_1-a")).topicArn();
        assertEquals("arn:aws:sns:eu-west-1:111122223333:Alerts_1-a", arn);
        var attributes = sns.getTopicAttributes(r -> r.topicArn(arn)).attributes();
        assertEquals("111122223333", attributes.get("Owner"));
        assertEquals("0", attributes.get("SubscriptionsConfirmed"));
        assertTrue(attributes.get("Policy").contains("__default_statement_ID"), attributes.get("Policy"));
        assertFalse(attributes.containsKey("KmsMasterKeyId"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"with space", "dot.ted", "queue.fifo", "umläut"})
    void refusesNamesOfTopics(String name) {
        assertInvalid("Topic Name", () -> sns.createTopic(r -> r.name(name)));
    }

    @Test
    void createsTheSameTopicAgainUnlessAttributesOrTagsDiffer() {
        var name = topic.name;
        assertEquals(topic.arn, sns.createTopic(r -> r.name(name)).topicArn());
        sns.tagResource(r -> r.resourceArn(topic.arn).tags(tag("team", "a")));
        assertEquals(topic.arn, sns.createTopic(r -> r.name(name)).topicArn());
        assertEquals(topic.arn, sns.createTopic(r -> r.name(name).tags(tag("team", "a"))).topicArn());
        assertInvalid("Tags Reason: Topic already exists with different tags",
                () -> sns.createTopic(r -> r.name(name).tags(tag("team", "b"))));
        assertInvalid("Attributes Reason: Topic already exists with different attributes",
                () -> sns.createTopic(r -> r.name(name).attributes(Map.of("DisplayName", "Builds"))));
        sns.setTopicAttributes(r -> r.topicArn(topic.arn).attributeName("DisplayName").attributeValue("Builds"));
        assertEquals(topic.arn,
                sns.createTopic(r -> r.name(name).attributes(Map.of("DisplayName", "Builds"))).topicArn());
    }

    @Test
    void makesATopicWithAttributesAndTags() {
        var arn = sns.createTopic(r -> r.name("made").attributes(Map.of("DisplayName", "Made", "KmsMasterKeyId", "k"))
                .tags(tag("a", "1"), tag("b", "2"))).topicArn();
        var attributes = sns.getTopicAttributes(r -> r.topicArn(arn)).attributes();
        assertEquals("Made", attributes.get("DisplayName"));
        assertEquals("k", attributes.get("KmsMasterKeyId"));
        assertEquals(List.of(tag("a", "1"), tag("b", "2")), sns.listTagsForResource(r -> r.resourceArn(arn)).tags());
    }

    @Test
    void deletesATopicTwiceAndHasStaleTagsForAWhile() {
        aws.sns.staleCalls = 1;
        sns.deleteTopic(r -> r.topicArn(topic.arn));
        sns.deleteTopic(r -> r.topicArn(topic.arn));
        assertThrows(NotFoundException.class, this::attributes);
        assertThrows(StaleTagException.class, () -> sns.createTopic(r -> r.name(topic.name).tags(tag("a", "1"))));
        sns.createTopic(r -> r.name(topic.name).tags(tag("a", "1")));
        assertEquals("a", sns.listTagsForResource(r -> r.resourceArn(topic.arn)).tags().get(0).key());
    }

    @Test
    void listsTopicsPageByPage() {
        aws.sns.pageSize = 1;
        var other = aws.sns.createTopic(REGION, "builds-other");
        aws.sns.createTopic("us-east-1", "elsewhere");
        var all = sns.listTopicsPaginator().topics().stream().map(t -> t.topicArn()).collect(Collectors.toSet());
        assertTrue(all.contains(topic.arn) && all.contains(other.arn), all.toString());
        assertFalse(all.stream().anyMatch(arn -> arn.contains("us-east-1")), all.toString());
        assertInvalid("NextToken", () -> sns.listTopics(r -> r.nextToken("x")));
    }

    @Test
    void setsAttributesAndRemovesTheKey() {
        sns.setTopicAttributes(r -> r.topicArn(topic.arn).attributeName("KmsMasterKeyId").attributeValue("alias/x"));
        assertEquals("alias/x", attributes().get("KmsMasterKeyId"));
        sns.setTopicAttributes(r -> r.topicArn(topic.arn).attributeName("KmsMasterKeyId").attributeValue(""));
        assertNull(attributes().get("KmsMasterKeyId"));
        assertInvalid("AttributeName",
                () -> sns.setTopicAttributes(r -> r.topicArn(topic.arn).attributeName("Nonsense").attributeValue("1")));
        assertInvalid("DisplayName", () -> sns.setTopicAttributes(
                r -> r.topicArn(topic.arn).attributeName("DisplayName").attributeValue("x".repeat(101))));
    }

    @Test
    void tellsMissingTopicsAndArnsThatAreNone() {
        assertError("NotFound", "Topic does not exist", () -> sns.getTopicAttributes(r -> r.topicArn(topic.arn + "x")));
        assertInvalid("TopicArn Reason: An ARN must have at least 6 elements, not 1",
                () -> sns.getTopicAttributes(r -> r.topicArn("builds")));
        assertInvalid("TopicArn",
                () -> sns.getTopicAttributes(r -> r.topicArn("arn:aws:sns:us-east-1:111122223333:builds")));
        assertError("ResourceNotFound", "does not exist",
                () -> sns.listTagsForResource(r -> r.resourceArn(topic.arn + "x")));
    }

    @Test
    void tagsAndRefusesWrongTags() {
        sns.tagResource(r -> r.resourceArn(topic.arn).tags(tag("a", "1"), tag("b", "2")));
        sns.untagResource(r -> r.resourceArn(topic.arn).tagKeys("a"));
        assertEquals(List.of(tag("b", "2")), sns.listTagsForResource(r -> r.resourceArn(topic.arn)).tags());
        assertInvalid("Tag keys", () -> sns.tagResource(r -> r.resourceArn(topic.arn).tags(tag("aws:x", "1"))));
        assertInvalid("Duplicated",
                () -> sns.tagResource(r -> r.resourceArn(topic.arn).tags(tag("a", "1"), tag("a", "2"))));
        var many = IntStream.range(0, 50).mapToObj(i -> tag("k" + i, "")).toList();
        assertError("TagLimitExceeded", "", () -> sns.tagResource(r -> r.resourceArn(topic.arn).tags(many)));
    }

    // Policies of topics

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
            "{                                                                   | failed to parse",
            "[]                                                                  | Policy Error",
            "{\"Version\":\"2012-10-17\",\"Statement\":[]}                       | Policy Error",
            "{\"Version\":\"2020-01-01\",\"Statement\":[{}]}                     | Policy Error",
            "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\"}]} | Policy Error"})
    void refusesPoliciesThatAreNone(String policy, String message) {
        assertInvalid("Policy", () -> setPolicy(policy));
        assertTrue(assertThrows(AwsServiceException.class, () -> setPolicy(policy)).getMessage().contains(message));
    }

    @Test
    void refusesPoliciesOfOtherActionsResourcesPrincipalsAndOperators() {
        assertInvalid("Policy statement action out of service scope!",
                () -> setPolicy(policy("Allow", "\"*\"", "s3:GetObject", topic.arn, null)));
        assertInvalid("Policy statement action out of service scope!",
                () -> setPolicy(policy("Allow", "\"*\"", "*", topic.arn, null)));
        assertInvalid("Policy statement resource",
                () -> setPolicy(policy("Allow", "\"*\"", "SNS:Publish", topic.arn + "x", null)));
        assertInvalid("Policy Error: PrincipalNotFound", () -> setPolicy(policy("Allow",
                "{\"AWS\":\"arn:aws:iam::111122223333:role/Ghost\"}", "SNS:Publish", topic.arn, null)));
        assertInvalid("Policy Error: null", () -> setPolicy(
                policy("Allow", "\"*\"", "SNS:Publish", topic.arn, "{\"StringIs\":{\"aws:SourceAccount\":\"1\"}}")));
        assertInvalid("Policy too long", () -> setPolicy(publishBy("events.amazonaws.com", null)
                + " ".repeat(30 * 1024)));
        setPolicy(policy("Allow", "{\"AWS\":\"arn:aws:iam::111122223333:role/Nobody\"}", "sns:publish", topic.arn,
                null));
        assertTrue(attributes().get("Policy").contains("Nobody"));
    }

    @Test
    void refusesTwoStatementsOfOneSid() {
        var one = publishBy("events.amazonaws.com", null);
        var statement = one.substring(one.indexOf("[{") + 1, one.lastIndexOf(']'));
        assertInvalid("Policy Error", () -> setPolicy(one.replace("[{", "[" + statement + ",{")));
    }

    // Who may

    @Test
    void asksIdentityPoliciesAndTheTopicsPolicy() {
        try (var nobody = as("arn:aws:iam::111122223333:role/Nobody");
                var stranger = as("arn:aws:iam::444455556666:user/operator")) {
            for (var client : List.of(nobody, stranger))
                assertError("AuthorizationError", "is not authorized to perform: sns:Publish on resource: " + topic.arn,
                        () -> client.publish(r -> r.topicArn(topic.arn).message("x")));
            setPolicy(policy("Allow", "{\"AWS\":[\"arn:aws:iam::111122223333:role/Nobody\",\"444455556666\"]}",
                    "SNS:Publish", topic.arn, null));
            nobody.publish(r -> r.topicArn(topic.arn).message("by a role"));
            stranger.publish(r -> r.topicArn(topic.arn).message("from another account"));
            assertEquals(List.of("by a role", "from another account"),
                    topic.published().stream().map(Sns.Message::text).toList());
            assertError("AuthorizationError", "", () -> nobody.deleteTopic(r -> r.topicArn(topic.arn)));
        }
    }

    @Test
    void letsPoliciesNarrowWhatIsSubscribedAndTagged() {
        aws.iam.createRole("Subscriber").inline.put("p", """
                {"Version":"2012-10-17","Statement":[
                {"Effect":"Allow","Action":"sns:Subscribe","Resource":"*",
                 "Condition":{"StringEquals":{"sns:Protocol":"email"},"StringLike":{"sns:Endpoint":"*@example.com"}}},
                {"Effect":"Allow","Action":"sns:CreateTopic","Resource":"*"}]}""");
        try (var subscriber = as("arn:aws:iam::111122223333:role/Subscriber")) {
            subscriber.subscribe(r -> r.topicArn(topic.arn).protocol("email").endpoint("a@example.com"));
            assertError("AuthorizationError", "",
                    () -> subscriber.subscribe(r -> r.topicArn(topic.arn).protocol("email").endpoint("a@evil.com")));
            assertError("AuthorizationError", "", () -> subscriber
                    .subscribe(r -> r.topicArn(topic.arn).protocol("https").endpoint("https://x@example.com")));
            subscriber.createTopic(r -> r.name("untagged"));
            assertError("AuthorizationError", "sns:TagResource",
                    () -> subscriber.createTopic(r -> r.name("tagged").tags(tag("a", "1"))));
        }
    }

    // Subscriptions

    @Test
    void keepsASubscriptionPendingUntilItIsConfirmed() {
        assertEquals("pending confirmation", sns
                .subscribe(r -> r.topicArn(topic.arn).protocol("email").endpoint("ops@example.com")).subscriptionArn());
        sns.publish(r -> r.topicArn(topic.arn).message("lost"));
        var arn = sns.subscribe(r -> r.topicArn(topic.arn).protocol("email").endpoint("ops@example.com")
                .returnSubscriptionArn(true)).subscriptionArn();
        assertTrue(arn.startsWith(topic.arn + ":"), arn);
        var listed = sns.listSubscriptionsByTopic(r -> r.topicArn(topic.arn)).subscriptions();
        assertEquals(List.of("PendingConfirmation"), listed.stream().map(Subscription::subscriptionArn).toList());
        assertEquals("1", attributes().get("SubscriptionsPending"));
        assertEquals("true", sns.getSubscriptionAttributes(r -> r.subscriptionArn(arn)).attributes()
                .get("PendingConfirmation"));
        assertInvalid("This subscription is pending", () -> sns.unsubscribe(r -> r.subscriptionArn(arn)));

        var subscription = topic.subscription("ops@example.com");
        assertEquals(2, subscription.tokens().size(), "each request is a mail");
        assertInvalid("Token", () -> sns.confirmSubscription(
                r -> r.topicArn(topic.arn).token(subscription.tokens().get(0))));
        assertEquals(arn, sns.confirmSubscription(r -> r.topicArn(topic.arn).token(subscription.tokens().get(1)))
                .subscriptionArn());
        sns.publish(r -> r.topicArn(topic.arn).subject("Build").message("failed"));
        assertEquals(List.of("failed"), subscription.received().stream().map(Sns.Message::text).toList());
        assertEquals("Build", subscription.received().get(0).subject());
        assertEquals(arn, sns.listSubscriptionsByTopic(r -> r.topicArn(topic.arn)).subscriptions().get(0)
                .subscriptionArn());
        assertEquals(arn, sns.subscribe(r -> r.topicArn(topic.arn).protocol("email").endpoint("ops@example.com"))
                .subscriptionArn());
        assertEquals(2, subscription.tokens().size(), "who has confirmed gets no other mail");
    }

    @Test
    void sendsMailsAndConfirmsByTheLinkInThemWithoutCredentials() throws Exception {
        var mails = new CopyOnWriteArrayList<Sns.Mail>();
        aws.onMail(mails::add);
        sns.subscribe(r -> r.topicArn(topic.arn).protocol("email").endpoint("ops@example.com"));
        sns.subscribe(r -> r.topicArn(topic.arn).protocol("https").endpoint("https://example.com"));
        sns.publish(r -> r.topicArn(topic.arn).message("lost"));
        assertEquals(List.of("ops@example.com"), mails.stream().map(Sns.Mail::address).toList());
        var link = mails.get(0).text().lines().filter(line -> line.startsWith("http")).findFirst().orElseThrow();
        assertEquals(404, status(link.replace(topic.arn, topic.arn + "x")));
        assertEquals(400, status(link + "0"));
        assertFalse(topic.subscription("ops@example.com").confirmed);
        assertEquals(200, status(link));
        assertTrue(topic.subscription("ops@example.com").confirmed);
        sns.publish(r -> r.topicArn(topic.arn).message("a build failed"));
        sns.publish(r -> r.topicArn(topic.arn).subject("Alarm").message("silence"));
        assertEquals(List.of(new Sns.Mail("ops@example.com", "AWS Notification Message", "a build failed"),
                new Sns.Mail("ops@example.com", "Alarm", "silence")), mails.subList(1, mails.size()));
    }

    static int status(String link) throws IOException {
        return ((HttpURLConnection) URI.create(link).toURL().openConnection()).getResponseCode();
    }

    @Test
    void letsATokenLiveTwoDays() {
        sns.subscribe(r -> r.topicArn(topic.arn).protocol("email").endpoint("late@example.com"));
        var token = topic.subscription("late@example.com").tokens().get(0);
        aws.clock = Clock.offset(Clock.systemUTC(), Duration.ofDays(2));
        assertInvalid("Token", () -> sns.confirmSubscription(r -> r.topicArn(topic.arn).token(token)));
    }

    @Test
    void confirmsWhatLiesInTheOwnAccountAtOnce() {
        var arn = sns.subscribe(r -> r.topicArn(topic.arn).protocol("sqs")
                .endpoint("arn:aws:sqs:eu-west-1:111122223333:queue")).subscriptionArn();
        assertTrue(arn.startsWith(topic.arn), arn);
        assertEquals("pending confirmation", sns.subscribe(r -> r.topicArn(topic.arn).protocol("sqs")
                .endpoint("arn:aws:sqs:eu-west-1:444455556666:queue")).subscriptionArn());
        assertEquals("pending confirmation", sns.subscribe(r -> r.topicArn(topic.arn).protocol("https")
                .endpoint("https://example.com/hook")).subscriptionArn());
    }

    @ParameterizedTest
    @CsvSource({"email,nobody,Email address", "email,a b@example.com,Email address",
            "https,http://example.com,Endpoint must match the specified protocol",
            "sqs,queue,Endpoint must match the specified protocol",
            "pigeon,coop,Amazon SNS does not support this protocol string: pigeon"})
    void refusesEndpoints(String protocol, String endpoint, String message) {
        assertInvalid(message, () -> sns.subscribe(r -> r.topicArn(topic.arn).protocol(protocol).endpoint(endpoint)));
    }

    @Test
    void listsSubscriptionsPageByPageAndForgetsWhatWasUnsubscribed() {
        aws.sns.pageSize = 2;
        for (var i = 0; i < 5; i++) {
            var endpoint = "ops" + i + "@example.com";
            sns.subscribe(r -> r.topicArn(topic.arn).protocol("email").endpoint(endpoint));
        }
        assertEquals(2, sns.listSubscriptionsByTopic(r -> r.topicArn(topic.arn)).subscriptions().size());
        assertEquals(5, sns.listSubscriptionsByTopicPaginator(r -> r.topicArn(topic.arn)).subscriptions().stream()
                .count());
        var one = topic.subscription("ops3@example.com");
        one.confirmed = true;
        sns.unsubscribe(r -> r.subscriptionArn(one.arn));
        sns.unsubscribe(r -> r.subscriptionArn(one.arn));
        assertNull(topic.subscription("ops3@example.com"));
        assertEquals("1", attributes().get("SubscriptionsDeleted"));
        assertError("NotFound", "Subscription", () -> sns.getSubscriptionAttributes(r -> r.subscriptionArn(one.arn)));
        assertInvalid("SubscriptionArn Reason", () -> sns.unsubscribe(r -> r.subscriptionArn("PendingConfirmation")));
    }

    // Messages

    @Test
    void refusesMessagesAndSubjects() {
        var subscription = confirmed();
        assertInvalid("Empty message", () -> sns.publish(r -> r.topicArn(topic.arn).message("")));
        assertInvalid("Message too long",
                () -> sns.publish(r -> r.topicArn(topic.arn).message("é".repeat(128 * 1024 + 1))));
        for (var subject : List.of("x".repeat(101), "two\nlines", "ü", ""))
            assertInvalid("Subject", () -> sns.publish(r -> r.topicArn(topic.arn).message("x").subject(subject)));
        assertError("NotFound", "", () -> sns.publish(r -> r.topicArn(topic.arn + "x").message("x")));
        assertEquals(List.of(), subscription.received());
        var id = sns.publish(r -> r.topicArn(topic.arn).message("x").subject("x".repeat(100))).messageId();
        assertEquals(id, subscription.received().get(0).id());
    }

    // Services

    void publishFor(String service, String source) {
        aws.sns.publishFor(service, source, topic.arn, "subject", "text");
    }

    static void assertRefused(String code, Runnable call) {
        assertEquals(code, assertThrows(AwsError.class, call::run).code);
    }

    @Test
    void letsAlarmsButNotRulesPublishByTheDefaultPolicy() {
        publishFor("cloudwatch.amazonaws.com", ALARM);
        assertRefused("AuthorizationError", () -> publishFor("events.amazonaws.com", RULE));
        assertEquals(1, topic.published().size());
    }

    @Test
    void letsAServicePublishThatThePolicyNames() {
        setPolicy(publishBy("events.amazonaws.com", null));
        var subscription = confirmed();
        publishFor("events.amazonaws.com", RULE);
        assertEquals("text", subscription.received().get(0).text());
        assertRefused("AuthorizationError", () -> publishFor("cloudwatch.amazonaws.com", ALARM));
        assertRefused("NotFound", () -> aws.sns.publishFor("events.amazonaws.com", RULE, topic.arn + "x", null, "x"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"{\"ArnEquals\":{\"aws:SourceArn\":\"" + RULE + "\"}}",
            "{\"StringEquals\":{\"aws:SourceAccount\":\"111122223333\"}}",
            "{\"Bool\":{\"aws:SecureTransport\":\"true\"}}"})
    void neverLetsARulePublishByAStatementWithACondition(String condition) {
        setPolicy(publishBy("events.amazonaws.com", condition));
        assertRefused("AuthorizationError", () -> publishFor("events.amazonaws.com", RULE));
    }

    @Test
    void letsAnAlarmPublishByAStatementWithItsConditions() {
        setPolicy(publishBy("cloudwatch.amazonaws.com", """
                {"StringEquals":{"aws:SourceAccount":"111122223333"},
                 "ArnLike":{"aws:SourceArn":"arn:aws:cloudwatch:eu-west-1:111122223333:alarm:*"}}"""));
        publishFor("cloudwatch.amazonaws.com", ALARM);
        assertRefused("AuthorizationError",
                () -> publishFor("cloudwatch.amazonaws.com", ALARM.replace("eu-west-1", "us-east-1")));
        assertEquals(1, topic.published().size());
    }

    // Encrypted topics

    Kms.Key encrypt(String... services) {
        var key = aws.kms.createKey(REGION);
        var statements = IntStream.range(0, services.length).mapToObj(i -> """
                ,{"Sid":"S%d","Effect":"Allow","Principal":{"Service":"%s"},"Resource":"*",
                "Action":["kms:Decrypt","kms:GenerateDataKey*"]}""".formatted(i, services[i]))
                .collect(Collectors.joining());
        key.policy = """
                {"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"*","Action":"kms:*",
                "Principal":{"AWS":"arn:aws:iam::111122223333:root"}}%s]}""".formatted(statements);
        topic.attributes.put("KmsMasterKeyId", key.arn);
        return key;
    }

    @Test
    void needsTheKeysGrantForEachServiceThatPublishesToAnEncryptedTopic() {
        encrypt("cloudwatch.amazonaws.com");
        topic.attributes.put("Policy", publishBy("events.amazonaws.com", null));
        assertRefused("KMSAccessDenied", () -> publishFor("events.amazonaws.com", RULE));
        encrypt("cloudwatch.amazonaws.com", "events.amazonaws.com");
        publishFor("events.amazonaws.com", RULE);
        assertEquals(1, topic.published().size());
    }

    @Test
    void knowsTheSourceOfAnAlarmButNotOfARuleInTheKeysPolicy() {
        var key = encrypt("cloudwatch.amazonaws.com", "events.amazonaws.com");
        key.policy = key.policy.replace("\"Resource\":\"*\",\n\"Action\":[", """
                "Resource":"*","Condition":{"StringEquals":{"aws:SourceAccount":"111122223333"}},"Action":[""");
        assertTrue(key.policy.contains("aws:SourceAccount"), key.policy);
        publishFor("cloudwatch.amazonaws.com", ALARM);
        topic.attributes.put("Policy", publishBy("events.amazonaws.com", null));
        assertRefused("KMSAccessDenied", () -> publishFor("events.amazonaws.com", RULE));
    }

    @Test
    void neverLetsAServicePublishUnderTheKeyThatAwsManages() {
        topic.attributes.put("KmsMasterKeyId", "alias/aws/sns");
        assertRefused("KMSAccessDenied", () -> publishFor("cloudwatch.amazonaws.com", ALARM));
        sns.publish(r -> r.topicArn(topic.arn).message("by a caller of the account"));
        assertEquals(1, topic.published().size());
    }

    @Test
    void tellsWhyAKeyCannotBeUsed() {
        var key = encrypt("cloudwatch.amazonaws.com");
        key.state = "Disabled";
        assertRefused("KMSDisabled", () -> publishFor("cloudwatch.amazonaws.com", ALARM));
        assertError("KMSDisabled", "", () -> sns.publish(r -> r.topicArn(topic.arn).message("x")));
        key.state = "PendingDeletion";
        assertRefused("KMSInvalidState", () -> publishFor("cloudwatch.amazonaws.com", ALARM));
        topic.attributes.put("KmsMasterKeyId", "alias/none");
        assertRefused("KMSNotFound", () -> publishFor("cloudwatch.amazonaws.com", ALARM));
    }

    @Test
    void needsTheCallersPermissionForTheKey() {
        encrypt();
        aws.iam.createRole("Publisher").inline.put("p", """
                {"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sns:Publish","Resource":"*"}}""");
        try (var publisher = as("arn:aws:iam::111122223333:role/Publisher")) {
            assertError("KMSAccessDenied", "kms:GenerateDataKey",
                    () -> publisher.publish(r -> r.topicArn(topic.arn).message("x")));
            aws.iam.find("role/Publisher").inline.put("key", """
                    {"Version":"2012-10-17","Statement":{"Effect":"Allow","Resource":"*",
                    "Action":["kms:GenerateDataKey","kms:Decrypt"],"Condition":{"StringEquals":{
                    "kms:ViaService":"sns.eu-west-1.amazonaws.com","kms:EncryptionContext:aws:sns:topicArn":"%s"}}}}"""
                    .formatted(topic.arn));
            assertNotEquals("", publisher.publish(r -> r.topicArn(topic.arn).message("x")).messageId());
        }
    }
}
