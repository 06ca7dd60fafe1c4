package localaws;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.kms.model.AliasListEntry;
import software.amazon.awssdk.services.kms.model.CreateKeyRequest;
import software.amazon.awssdk.services.kms.model.ExpirationModelType;
import software.amazon.awssdk.services.kms.model.KeyListEntry;
import software.amazon.awssdk.services.kms.model.KeyManagerType;
import software.amazon.awssdk.services.kms.model.KeySpec;
import software.amazon.awssdk.services.kms.model.KeyState;
import software.amazon.awssdk.services.kms.model.KeyUsageType;
import software.amazon.awssdk.services.kms.model.MultiRegionKey;
import software.amazon.awssdk.services.kms.model.MultiRegionKeyType;
import software.amazon.awssdk.services.kms.model.NotFoundException;
import software.amazon.awssdk.services.kms.model.OriginType;
import software.amazon.awssdk.services.kms.model.Tag;

/** The embedded KMS, driven by the AWS SDK for Java: what AWS does, and what it refuses. */
class KmsTest {
    static final LocalAws aws = LocalAws.start();
    static final String REGION = "eu-west-1";
    static final String ROOT = "arn:aws:iam::111122223333:root";
    static KmsClient kms;

    @BeforeAll
    static void connect() {
        kms = client(REGION, AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY));
        aws.iam.createRole("Developer");
        aws.iam.createUser("alice");
        aws.iam.createGroup("Developers");
    }

    @AfterAll
    static void stop() {
        kms.close();
        aws.close();
    }

    static KmsClient client(String region, AwsCredentials credentials) {
        return client(aws.endpoint(), region, credentials);
    }

    static KmsClient client(URI endpoint, String region, AwsCredentials credentials) {
        return KmsClient.builder().endpointOverride(endpoint).region(Region.of(region))
                .credentialsProvider(StaticCredentialsProvider.create(credentials))
                .httpClient(UrlConnectionHttpClient.create()).build();
    }

    Kms.Key key;
    String alias;

    @BeforeEach
    void seed() {
        aws.clearFaults();
        aws.kms.earlyCalls = 0;
        aws.kms.looksAtOldPolicy = 0;
        key = aws.kms.createKey(REGION);
        alias = "alias/test-" + System.nanoTime();
    }

    static void assertError(String code, Runnable call) {
        var refused = assertThrows(AwsServiceException.class, call::run);
        assertEquals(code, refused.awsErrorDetails().errorCode(), refused.getMessage());
        assertEquals(400, refused.statusCode());
    }

    static Tag tag(String key, String value) {
        return Tag.builder().tagKey(key).tagValue(value).build();
    }

    /** A statement that lets a principal decrypt. */
    static String decryptFor(String principal) {
        return "{'Effect':'Allow','Principal':" + principal + ",'Action':'kms:Decrypt','Resource':'*'}";
    }

    /** A key policy of the account's statement and this one. */
    static String policy(String statement) {
        return "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"Root\",\"Effect\":\"Allow\","
                + "\"Principal\":{\"AWS\":\""
                + ROOT
                + "\"},\"Action\":\"kms:*\",\"Resource\":\"*\"}," + statement.replace('\'', '"') + "]}";
    }

    @Test
    void aNewKeyIsSymmetricEnabledAndNotRotating() throws Exception {
        var before = Instant.now().truncatedTo(ChronoUnit.SECONDS);
        var made = kms.createKey(r -> r.description("all code").tags(tag("Team", "Payments"))).keyMetadata();
        assertEquals("arn:aws:kms:eu-west-1:111122223333:key/" + made.keyId(), made.arn());
        var seen = kms.describeKey(r -> r.keyId(made.arn())).keyMetadata();
        assertEquals("all code", seen.description());
        assertEquals(KeyState.ENABLED, seen.keyState());
        assertTrue(seen.enabled());
        assertEquals(KeySpec.SYMMETRIC_DEFAULT, seen.keySpec());
        assertEquals(KeyUsageType.ENCRYPT_DECRYPT, seen.keyUsage());
        assertEquals(KeyManagerType.CUSTOMER, seen.keyManager());
        assertEquals("111122223333", seen.awsAccountId());
        assertFalse(seen.creationDate().isBefore(before) || seen.creationDate().isAfter(Instant.now()));
        assertFalse(kms.getKeyRotationStatus(r -> r.keyId(made.keyId())).keyRotationEnabled());
        assertEquals(List.of(tag("Team", "Payments")), kms.listResourceTags(r -> r.keyId(made.keyId())).tags());
        var policy = Models.JSON.readTree(kms.getKeyPolicy(r -> r.keyId(made.keyId())).policy());
        assertEquals(ROOT, policy.at("/Statement/Principal/AWS").asText(), "the default policy trusts the account");
    }

    @Test
    void aKeyIsFoundByIdArnAliasAndAliasArn() {
        kms.createAlias(r -> r.aliasName(alias).targetKeyId(key.arn));
        for (var id : List.of(key.keyId, key.arn, alias, "arn:aws:kms:eu-west-1:111122223333:" + alias)) {
            assertEquals(key.arn, kms.describeKey(r -> r.keyId(id)).keyMetadata().arn());
        }
        for (var id : List.of("nothing", key.arn + "x", "alias/nothing",
                "arn:aws:kms:eu-west-2:111122223333:key/" + key.keyId,
                "arn:aws-cn:kms:eu-west-1:111122223333:key/" + key.keyId)) {
            assertError("NotFoundException", () -> kms.describeKey(r -> r.keyId(id)));
        }
        assertError("AccessDeniedException",
                () -> kms.describeKey(r -> r.keyId("arn:aws:kms:eu-west-1:444455556666:key/" + key.keyId)));
        try (var elsewhere = client("eu-west-2",
                AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY))) {
            assertError("NotFoundException", () -> elsewhere.describeKey(r -> r.keyId(key.keyId)));
        }
    }

    @Test
    void aNewKeyDoesNotShowAtOnce() {
        aws.kms.earlyCalls = 2;
        var made = kms.createKey().keyMetadata();
        assertThrows(NotFoundException.class, () -> kms.enableKeyRotation(r -> r.keyId(made.keyId())));
        assertThrows(NotFoundException.class, () -> kms.createAlias(r -> r.aliasName(alias).targetKeyId(made.keyId())));
        kms.createAlias(r -> r.aliasName(alias).targetKeyId(made.keyId()));
    }

    @Test
    void theKeyThatAwsManagesCannotBeChanged() {
        var managed = kms.describeKey(r -> r.keyId("alias/aws/codecommit")).keyMetadata();
        assertEquals(KeyManagerType.AWS, managed.keyManager());
        assertEquals(365, kms.getKeyRotationStatus(r -> r.keyId(managed.keyId())).rotationPeriodInDays());
        assertTrue(kms.getKeyPolicy(r -> r.keyId(managed.keyId())).policy()
                .contains("codecommit.eu-west-1.amazonaws.com"));
        assertEquals(List.of(), kms.listResourceTags(r -> r.keyId(managed.keyId())).tags());
        List<Runnable> changes = List.of(
                () -> kms.putKeyPolicy(r -> r.keyId(managed.keyId())
                        .policy(policy(decryptFor("'*'")))),
                () -> kms.scheduleKeyDeletion(r -> r.keyId(managed.keyId())),
                () -> kms.disableKeyRotation(r -> r.keyId(managed.keyId())),
                () -> kms.updateKeyDescription(r -> r.keyId(managed.keyId()).description("mine")),
                () -> kms.tagResource(r -> r.keyId(managed.keyId()).tags(tag("a", "b"))),
                () -> kms.untagResource(r -> r.keyId(managed.keyId()).tagKeys("a")),
                () -> kms.createAlias(r -> r.aliasName(alias).targetKeyId(managed.keyId())));
        for (var change : changes) assertError("AccessDeniedException", change);
    }

    /** API Reference, DescribeKey and ListAliases. */
    @Test
    void aKeyOfAwsComesIntoBeingWhenItsAliasIsDescribed() {
        try (var elsewhere = client("eu-central-1",
                AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY))) {
            Supplier<List<String>> withKey = () -> elsewhere.listAliasesPaginator().aliases().stream()
                    .filter(entry -> entry.targetKeyId() != null).map(AliasListEntry::aliasName).toList();
            assertEquals(List.of("alias/aws/codecommit", "alias/aws/s3", "alias/aws/sns"),
                    elsewhere.listAliasesPaginator().aliases().stream().map(AliasListEntry::aliasName).toList());
            assertEquals(List.of(), withKey.get());
            assertEquals(List.of(), elsewhere.listKeys().keys());
            var made = elsewhere.describeKey(r -> r.keyId("alias/aws/codecommit")).keyMetadata();
            assertEquals(List.of("alias/aws/codecommit"), withKey.get());
            assertEquals(made.keyId(), elsewhere.describeKey(r -> r.keyId("alias/aws/codecommit")).keyMetadata()
                    .keyId());
            assertThrows(NotFoundException.class, () -> elsewhere.describeKey(r -> r.keyId("alias/aws/nothing")));
        }
    }

    @Test
    void materialThatIsNotOfKmsDoesNotRotateAndMayExpire() {
        assertNull(kms.describeKey(r -> r.keyId(key.keyId)).keyMetadata().expirationModel());
        key.origin = "EXTERNAL";
        assertEquals(ExpirationModelType.KEY_MATERIAL_DOES_NOT_EXPIRE,
                kms.describeKey(r -> r.keyId(key.keyId)).keyMetadata().expirationModel());
        key.validTo = Instant.parse("2027-01-31T00:00:00Z");
        var metadata = kms.describeKey(r -> r.keyId(key.keyId)).keyMetadata();
        assertEquals(OriginType.EXTERNAL, metadata.origin());
        assertEquals(ExpirationModelType.KEY_MATERIAL_EXPIRES, metadata.expirationModel());
        assertEquals(key.validTo, metadata.validTo());
        for (var origin : List.of("EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE")) {
            key.origin = origin;
            assertError("UnsupportedOperationException", () -> kms.getKeyRotationStatus(r -> r.keyId(key.keyId)));
            assertError("UnsupportedOperationException", () -> kms.enableKeyRotation(r -> r.keyId(key.keyId)));
        }
        assertEquals("cks-1234567890abcdef0", kms.describeKey(r -> r.keyId(key.keyId)).keyMetadata()
                .customKeyStoreId());
        key.origin = "EXTERNAL";
        key.state = "PendingImport";
        assertNull(kms.describeKey(r -> r.keyId(key.keyId)).keyMetadata().validTo(), "it has no material");
    }

    @Test
    void aReplicaRotatesAsItsPrimaryKeyDoes() {
        var primary = aws.kms.createMultiRegionKey("eu-west-2", REGION);
        assertError("UnsupportedOperationException", () -> kms.enableKeyRotation(r -> r.keyId(primary.keyId)));
        assertFalse(kms.getKeyRotationStatus(r -> r.keyId(primary.keyId)).keyRotationEnabled());
        primary.rotationPeriod = 90;
        assertEquals(90, kms.getKeyRotationStatus(r -> r.keyId(primary.keyId)).rotationPeriodInDays());
    }

    @Test
    void anAliasIsTakenOnceForAKeyThatStays() {
        kms.createAlias(r -> r.aliasName(alias).targetKeyId(key.keyId));
        assertError("AlreadyExistsException",
                () -> kms.createAlias(r -> r.aliasName(alias).targetKeyId(aws.kms.createKey(REGION).keyId)));
        assertError("NotFoundException", () -> kms.createAlias(r -> r.aliasName(alias + "x").targetKeyId("nothing")));
        assertError("ValidationException", () -> kms.createAlias(r -> r.aliasName(alias + "x").targetKeyId(alias)));
        assertEquals(List.of(alias),
                kms.listAliases(r -> r.keyId(key.arn)).aliases().stream().map(AliasListEntry::aliasName).toList());
        kms.deleteAlias(r -> r.aliasName(alias));
        assertError("NotFoundException", () -> kms.deleteAlias(r -> r.aliasName(alias)));
        for (var i = 0; i < 50; i++) aws.kms.createAlias(REGION, alias + "-" + i, key);
        assertError("LimitExceededException", () -> kms.createAlias(r -> r.aliasName(alias).targetKeyId(key.keyId)));
        var deleted = aws.kms.createKey(REGION);
        deleted.state = "PendingDeletion";
        assertError("KMSInvalidStateException",
                () -> kms.createAlias(r -> r.aliasName(alias).targetKeyId(deleted.keyId)));
    }

    @ParameterizedTest
    @CsvSource({"codecommit, ValidationException", "alias/, InvalidAliasNameException",
            "alias/a:b, InvalidAliasNameException",
            "alias/a.b, ValidationException", "'alias/a b', ValidationException",
            "alias/aws/codecommit, NotAuthorizedException", "alias/aws/x, NotAuthorizedException"})
    void anAliasHasAnAllowedName(String name, String code) {
        assertError(code, () -> kms.createAlias(r -> r.aliasName(name).targetKeyId(key.keyId)));
        assertError("ValidationException",
                () -> kms.createAlias(r -> r.aliasName("alias/" + "x".repeat(251)).targetKeyId(key.keyId)));
    }

    @Test
    void rotationHasAPeriod() {
        kms.enableKeyRotation(r -> r.keyId(key.arn));
        assertEquals(365, kms.getKeyRotationStatus(r -> r.keyId(key.keyId)).rotationPeriodInDays());
        kms.enableKeyRotation(r -> r.keyId(key.keyId).rotationPeriodInDays(90));
        var status = kms.getKeyRotationStatus(r -> r.keyId(key.keyId));
        assertEquals(90, status.rotationPeriodInDays());
        assertTrue(status.nextRotationDate().isAfter(Instant.now().plus(Duration.ofDays(89))));
        kms.disableKeyRotation(r -> r.keyId(key.keyId));
        assertFalse(kms.getKeyRotationStatus(r -> r.keyId(key.keyId)).keyRotationEnabled());
        for (var days : List.of(0, 89, 2561)) {
            assertError("ValidationException",
                    () -> kms.enableKeyRotation(r -> r.keyId(key.keyId).rotationPeriodInDays(days)));
        }
        kms.createAlias(r -> r.aliasName(alias).targetKeyId(key.keyId));
        assertError("NotFoundException", () -> kms.enableKeyRotation(r -> r.keyId(alias)));
        key.keySpec = "RSA_2048";
        assertError("UnsupportedOperationException", () -> kms.enableKeyRotation(r -> r.keyId(key.keyId)));
        assertError("UnsupportedOperationException", () -> kms.getKeyRotationStatus(r -> r.keyId(key.keyId)));
    }

    @Test
    void onlyDescribeKeyTakesAnAlias() {
        kms.createAlias(r -> r.aliasName(alias).targetKeyId(key.keyId));
        List<Consumer<String>> calls = List.of(id -> kms.getKeyPolicy(r -> r.keyId(id)),
                id -> kms.putKeyPolicy(r -> r.keyId(id).policy(key.policy)),
                id -> kms.getKeyRotationStatus(r -> r.keyId(id)), id -> kms.disableKeyRotation(r -> r.keyId(id)),
                id -> kms.updateKeyDescription(r -> r.keyId(id).description("x")),
                id -> kms.tagResource(r -> r.keyId(id).tags(tag("a", "b"))),
                id -> kms.untagResource(r -> r.keyId(id).tagKeys("a")), id -> kms.listResourceTags(r -> r.keyId(id)),
                id -> kms.scheduleKeyDeletion(r -> r.keyId(id)));
        for (var call : calls) assertError("NotFoundException", () -> call.accept(alias));
    }

    @Test
    void aDisabledKeyMayBeDescribedButDoesNotRotate() {
        key.state = "Disabled";
        assertFalse(kms.describeKey(r -> r.keyId(key.keyId)).keyMetadata().enabled());
        assertError("DisabledException", () -> kms.enableKeyRotation(r -> r.keyId(key.keyId)));
        assertError("DisabledException", () -> kms.disableKeyRotation(r -> r.keyId(key.keyId)));
        kms.updateKeyDescription(r -> r.keyId(key.keyId).description("off"));
        kms.tagResource(r -> r.keyId(key.keyId).tags(tag("a", "b")));
        assertEquals("off", key.description);
        assertEquals("{a=b}", key.tags.toString());
    }

    @Test
    void aKeyThatWillBeDeletedCannotBeChanged() {
        var before = Instant.now().truncatedTo(ChronoUnit.SECONDS);
        var answer = kms.scheduleKeyDeletion(r -> r.keyId(key.keyId).pendingWindowInDays(7));
        assertEquals(KeyState.PENDING_DELETION, answer.keyState());
        var asked = answer.deletionDate().minus(Duration.ofDays(7));
        assertFalse(asked.isBefore(before) || asked.isAfter(Instant.now()));
        assertEquals(answer.deletionDate(), kms.describeKey(r -> r.keyId(key.keyId)).keyMetadata().deletionDate());
        key.rotationPeriod = 365;
        assertFalse(kms.getKeyRotationStatus(r -> r.keyId(key.keyId)).keyRotationEnabled());
        List<Runnable> changes = List.of(() -> kms.scheduleKeyDeletion(r -> r.keyId(key.keyId)),
                () -> kms.enableKeyRotation(r -> r.keyId(key.keyId)),
                () -> kms.updateKeyDescription(r -> r.keyId(key.keyId).description("x")),
                () -> kms.tagResource(r -> r.keyId(key.keyId).tags(tag("a", "b"))),
                () -> kms.untagResource(r -> r.keyId(key.keyId).tagKeys("a")),
                () -> kms.putKeyPolicy(r -> r.keyId(key.keyId).policy(key.policy)));
        for (var change : changes) assertError("KMSInvalidStateException", change);
        for (var days : List.of(1, 6, 31, 400)) {
            assertError("ValidationException", () -> kms
                    .scheduleKeyDeletion(r -> r.keyId(aws.kms.createKey(REGION).keyId).pendingWindowInDays(days)));
        }
    }

    @Test
    void aKeyThatIsKeptIsDisabledUntilItIsEnabled() {
        assertError("KMSInvalidStateException", () -> kms.cancelKeyDeletion(r -> r.keyId(key.keyId)));
        kms.scheduleKeyDeletion(r -> r.keyId(key.keyId));
        assertError("KMSInvalidStateException", () -> kms.enableKey(r -> r.keyId(key.keyId)));
        assertError("KMSInvalidStateException", () -> kms.disableKey(r -> r.keyId(key.keyId)));
        assertEquals(key.arn, kms.cancelKeyDeletion(r -> r.keyId(key.keyId)).keyId());
        var kept = kms.describeKey(r -> r.keyId(key.keyId)).keyMetadata();
        assertEquals(KeyState.DISABLED, kept.keyState());
        assertNull(kept.deletionDate());
        kms.enableKey(r -> r.keyId(key.keyId));
        assertEquals("Enabled", key.state);
        kms.disableKey(r -> r.keyId(key.keyId));
        assertEquals("Disabled", key.state);
        var managed = aws.kms.find("alias/aws/codecommit", REGION);
        assertError("AccessDeniedException", () -> kms.disableKey(r -> r.keyId(managed.keyId)));
    }

    @Test
    void tagsHaveTheirLimits() {
        kms.tagResource(r -> r.keyId(key.keyId).tags(tag("Cost Center", "a+b=c_d.e:f/g@h-ü"), tag("empty", "")));
        kms.untagResource(r -> r.keyId(key.keyId).tagKeys("empty", "never there"));
        assertEquals("{Cost Center=a+b=c_d.e:f/g@h-ü}", key.tags.toString());
        assertError("TagException",
                () -> kms.tagResource(r -> r.keyId(key.keyId).tags(tag("Compliance", "SOC2,GDPR"))));
        assertError("TagException", () -> kms.tagResource(r -> r.keyId(key.keyId).tags(tag("aws:owner", "x"))));
        assertError("TagException",
                () -> kms.tagResource(r -> r.keyId(key.keyId).tags(tag("twice", "x"), tag("twice", "y"))));
        assertError("ValidationException",
                () -> kms.tagResource(r -> r.keyId(key.keyId).tags(tag("k".repeat(129), "x"))));
        assertError("ValidationException",
                () -> kms.tagResource(r -> r.keyId(key.keyId).tags(tag("k", "x".repeat(257)))));
        var fifty = IntStream.range(0, 50).mapToObj(i -> tag("t" + i, "x")).toList();
        assertError("TagException", () -> kms.tagResource(r -> r.keyId(key.keyId).tags(fifty)));
        assertEquals(1, key.tags.size(), "nothing of it was done");
        var keys = aws.kms.keys(REGION).size();
        var tooMany = new ArrayList<>(fifty);
        tooMany.add(tag("one", "more"));
        assertError("TagException", () -> kms.createKey(r -> r.tags(tooMany)));
        assertError("TagException", () -> kms.createKey(r -> r.tags(tag("a", "b,c"))));
        assertEquals(keys, aws.kms.keys(REGION).size());
    }

    @Test
    void listsComeInPages() {
        aws.kms.find("alias/aws/codecommit", REGION);
        for (var i = 0; i < 7; i++) key.tags.put("t" + i, "x");
        for (var i = 0; i < 7; i++) aws.kms.createAlias(REGION, alias + "-" + i, aws.kms.createKey(REGION));
        var first = kms.listKeys(r -> r.limit(1000));
        assertTrue(first.truncated());
        assertEquals(3, first.keys().size());
        var keys = kms.listKeysPaginator().keys().stream().map(KeyListEntry::keyArn).toList();
        assertEquals(aws.kms.keys(REGION).size() + 1, keys.stream().distinct().count(), "and the one that AWS manages");
        assertEquals(keys.size(), keys.stream().distinct().count());
        assertEquals(7, kms.listResourceTagsPaginator(r -> r.keyId(key.keyId)).tags().stream().distinct().count());
        assertEquals(aws.kms.aliases(REGION).keySet(),
                kms.listAliasesPaginator().aliases().stream().filter(alias -> alias.targetKeyId() != null)
                        .map(AliasListEntry::aliasName).collect(Collectors.toSet()));
        assertEquals(1, kms.listKeys(r -> r.limit(1)).keys().size());
        assertError("ValidationException", () -> kms.listKeys(r -> r.limit(1001)));
        assertError("ValidationException", () -> kms.listKeys(r -> r.limit(0)));
        assertError("ValidationException", () -> kms.listResourceTags(r -> r.keyId(key.keyId).limit(51)));
        assertError("InvalidMarkerException", () -> kms.listKeys(r -> r.marker("page 2")));
    }

    @Test
    void aPolicyComesBackInOtherWordsThatMeanTheSame() throws Exception {
        var put = policy(
                "{'Sid':'Use','Effect':'Allow','Principal':{'AWS':['444455556666',"
                        + "'arn:aws:iam::111122223333:role/Developer']},"
                        + "'Action':['kms:Encrypt','kms:Decrypt'],'Resource':['*'],"
                        + "'Condition':{'StringEquals':{'kms:CallerAccount':['111122223333']}}}");
        kms.putKeyPolicy(r -> r.keyId(key.keyId).policyName("default").policy(put));
        var answer = kms.getKeyPolicy(r -> r.keyId(key.keyId).policyName("default"));
        assertEquals("default", answer.policyName());
        assertNotEquals(put, answer.policy());
        var use = Models.JSON.readTree(answer.policy()).at("/Statement/0");
        assertEquals("[\"arn:aws:iam::111122223333:role/Developer\",\"arn:aws:iam::444455556666:root\"]",
                use.at("/Principal/AWS").toString());
        assertEquals("[\"kms:Decrypt\",\"kms:Encrypt\"]", use.path("Action").toString());
        assertEquals("*", use.path("Resource").asText());
        assertEquals("111122223333", use.at("/Condition/StringEquals/kms:CallerAccount").asText(),
                "an account id that is no principal stays one");
        assertError("NotFoundException", () -> kms.getKeyPolicy(r -> r.keyId(key.keyId).policyName("other")));
        assertError("NotFoundException",
                () -> kms.putKeyPolicy(r -> r.keyId(key.keyId).policyName("other").policy(put)));
        var chinese = aws.kms.createKey("cn-north-1");
        chinese.policy = policy("{}").replace(ROOT, "111122223333").replace(",{}", "");
        try (var china = client("cn-north-1",
                AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY))) {
            assertEquals("arn:aws-cn:iam::111122223333:root",
                    Models.JSON.readTree(china.getKeyPolicy(r -> r.keyId(chinese.keyId)).policy())
                    .at("/Statement/Principal/AWS").asText());
        }
    }

    static List<String> rightStatements() {
        return List.of(
                decryptFor("{'AWS':'arn:aws:iam::111122223333:role/Developer'}"),
                decryptFor("{'AWS':'arn:aws:iam::111122223333:user/alice'}"),
                decryptFor("{'AWS':'arn:aws:sts::111122223333:assumed-role/Developer/me'}"),
                decryptFor("{'AWS':['444455556666','arn:aws:iam::444455556666:role/Theirs']}"),
                decryptFor("{'Service':'logs.eu-west-1.amazonaws.com'}"),
                "{'Effect':'Deny','NotPrincipal':{'AWS':'" + ROOT
                        + "'},'Action':'kms:ScheduleKeyDeletion','Resource':'*'}",
                "{'Effect':'Allow','Principal':'*','Action':'kms:Decrypt','Resource':'*',"
                        + "'Condition':{'StringEquals':{'kms:CallerAccount':'111122223333'}}}",
                "{'Effect':'Deny','Principal':'*','NotAction':'kms:*','Resource':'*'}");
    }

    @ParameterizedTest
    @MethodSource("rightStatements")
    void takesAPolicyThatIsRight(String statement) {
        aws.account("444455556666").iam.createRole("Theirs");
        kms.putKeyPolicy(r -> r.keyId(key.keyId).policy(policy(statement)));
        assertTrue(key.policy.contains(statement.replace('\'', '"')));
        kms.createKey(r -> r.policy(policy(statement)));
    }

    static List<String> wrongStatements() {
        return List.of(
                "{'Effect':'Allow','Action':'kms:Decrypt','Resource':'*'}",
                decryptFor("{}"),
                decryptFor("{'AWS':[]}"),
                decryptFor("{'User':'alice'}"),
                "{'Effect':'Allow','Principal':'" + ROOT + "','Action':'kms:Decrypt','Resource':'*'}",
                decryptFor("{'AWS':'arn:aws:iam::111122223333:role/Ghost'}"),
                decryptFor("{'AWS':'arn:aws:iam::111122223333:group/Developers'}"),
                decryptFor("{'AWS':'arn:aws:iam::111122223333:role/*'}"),
                decryptFor("{'AWS':'arn:aws:iam::444455556666:role/*'}"),
                decryptFor("{'AWS':'arn:aws-cn:iam::111122223333:role/Developer'}"),
                decryptFor("{'AWS':'arn:aws:sts::111122223333:assumed-role/Ghost/me'}"),
                decryptFor("{'AWS':'000000000000'}"),
                decryptFor("{'AWS':['444455556666','arn:aws:iam::000000000000:root']}"),
                decryptFor("{'AWS':'AROAIOSFODNN7EXAMPLE'}"),
                decryptFor("{'AWS':'Developer'}"),
                decryptFor("{'Service':'codecommit'}"),
                "{'Effect':'Alow','Principal':'*','Action':'kms:Decrypt','Resource':'*'}",
                "{'Effect':'Allow','Principal':'*','Acton':'kms:Decrypt','Resource':'*'}",
                "{'Effect':'Allow','Principal':'*','Resource':'*'}",
                "{'Effect':'Allow','Principal':'*','Action':[],'Resource':'*'}",
                "{'Effect':'Allow','Principal':'*','Action':'Decrypt','Resource':'*'}",
                "{'Effect':'Allow','Principal':'*','Action':'kms:Decrypt','NotAction':'kms:Encrypt','Resource':'*'}",
                "{'Effect':'Allow','Principal':'*','Action':'kms:Decrypt'}",
                "{'Effect':'Allow','Principal':'*','Action':'kms:Decrypt','Resource':'key'}",
                "{'Effect':'Allow','Principal':'*','Action':'kms:Decrypt','Resource':'*',"
                        + "'Condition':{'StringEqual':{'kms:CallerAccount':'111122223333'}}}",
                "{'Effect':'Allow','Principal':'*','Action':'kms:Decrypt','Resource':'*',"
                        + "'Condition':{'StringEquals':'111122223333'}}",
                "{'Effect':'Deny','Principal':'*','Action':'kms:*','Resource':'*'}",
                "{'Effect':'Deny','Principal':{'AWS':'" + ROOT + "'},'Action':'kms:Put*','Resource':'*'}",
                "'statement'");
    }

    @ParameterizedTest
    @MethodSource("wrongStatements")
    void refusesAPolicyThatIsWrong(String statement) {
        var before = key.policy;
        assertError("MalformedPolicyDocumentException",
                () -> kms.putKeyPolicy(r -> r.keyId(key.keyId).policy(policy(statement))));
        assertEquals(before, key.policy);
        var keys = aws.kms.keys(REGION).size();
        assertError("MalformedPolicyDocumentException", () -> kms.createKey(r -> r.policy(policy(statement))));
        assertEquals(keys, aws.kms.keys(REGION).size(), "no key is made");
    }

    @ParameterizedTest
    @ValueSource(strings = {"not JSON", "[]", "{}", "{\"Version\":\"2012-10-17\"}",
            "{\"Version\":\"2012-10-17\",\"Statement\":[]}",
            "{\"Version\":\"2024-01-01\",\"Statement\":[]}",
            "{\"Version\":\"2012-10-17\",\"Statement\":[],\"Statements\":[]}"})
    void refusesWhatIsNoPolicy(String text) {
        assertError("MalformedPolicyDocumentException", () -> kms.putKeyPolicy(r -> r.keyId(key.keyId).policy(text)));
    }

    @Test
    void aPolicyHasItsLength() {
        assertError("LimitExceededException",
                () -> kms.putKeyPolicy(r -> r.keyId(key.keyId).policy(policy("{'Sid':'" + "x".repeat(32768) + "'}"))));
        assertError("ValidationException", () -> kms.putKeyPolicy(r -> r.keyId(key.keyId).policy(" ".repeat(131073))));
        assertError("ValidationException", () -> kms.putKeyPolicy(r -> r.keyId(key.keyId).policy("{\"Sid\":\"€\"}")));
        assertError("ValidationException", () -> kms.createKey(r -> r.description("x".repeat(8193))));
    }

    /** KMS is eventually consistent. */
    @Test
    void aChangedPolicyDoesNotShowAtOnce() {
        aws.kms.looksAtOldPolicy = 2;
        kms.putKeyPolicy(r -> r.keyId(key.keyId).policy(policy(decryptFor("'*'"))));
        for (var shows : List.of(false, false, true, true)) {
            assertEquals(shows, kms.getKeyPolicy(r -> r.keyId(key.keyId)).policy().contains("kms:Decrypt"));
        }
    }

    @Test
    void nobodyLocksHimselfOutUnlessHeSaysSo() {
        var without = policy("{}").replace(ROOT, "arn:aws:iam::111122223333:role/Developer").replace(",{}", "");
        assertError("MalformedPolicyDocumentException",
                () -> kms.putKeyPolicy(r -> r.keyId(key.keyId).policy(without)));
        assertError("MalformedPolicyDocumentException", () -> kms.putKeyPolicy(r -> r.keyId(key.keyId)
                .policy(without.replace("kms:*", "kms:Decrypt").replace("role/Developer", "root"))));
        aws.iam.find("role/Developer").attached.add("aws:policy/AdministratorAccess");
        var login = aws.as("arn:aws:iam::111122223333:role/Developer");
        try (var developer = client(REGION,
                AwsSessionCredentials.create(login.accessKeyId(), login.secretAccessKey(), login.sessionToken()))) {
            developer.putKeyPolicy(r -> r.keyId(key.keyId).policy(without));
        }
        // the policy is the developer's alone now: no other way leads to the key, not even an administrator's
        assertError("AccessDeniedException", () -> kms.putKeyPolicy(r -> r.keyId(key.keyId)
                .policy(without.replace("kms:*", "kms:Decrypt")).bypassPolicyLockoutSafetyCheck(true)));
        key.policy = policy("{}").replace(",{}", "");
        kms.putKeyPolicy(r -> r.keyId(key.keyId).policy(without.replace("kms:*", "kms:Decrypt"))
                .bypassPolicyLockoutSafetyCheck(true));
        assertTrue(key.policy.contains("kms:Decrypt"));
    }

    @Test
    void aNewRoleIsNoPrincipalAtOnce() {
        aws.iam.createRoleVisibleAfter("Fresh", 2);
        var policy = policy(
                decryptFor("{'AWS':'arn:aws:iam::111122223333:role/Fresh'}"));
        for (var i = 0; i < 2; i++) {
            assertError("MalformedPolicyDocumentException",
                    () -> kms.putKeyPolicy(r -> r.keyId(key.keyId).policy(policy)));
        }
        kms.putKeyPolicy(r -> r.keyId(key.keyId).policy(policy));
    }

    @Test
    void encryptsWhatNobodyCanRead() {
        var one = kms.encrypt(r -> r.keyId(key.keyId).plaintext(SdkBytes.fromUtf8String("text")));
        assertEquals(key.arn, one.keyId());
        assertEquals(156, one.ciphertextBlob().asByteArray().length);
        key.state = "Disabled";
        assertError("DisabledException",
                () -> kms.encrypt(r -> r.keyId(key.keyId).plaintext(SdkBytes.fromUtf8String("text"))));
    }

    @Test
    void grantsAreListedInPages() {
        assertEquals(List.of(), kms.listGrants(r -> r.keyId(key.keyId)).grants());
        for (var i = 0; i < 7; i++) key.grants.add(new Kms.Grant("grant-" + i, i % 2 == 0 ? ROOT
                : "arn:aws:iam::444455556666:role/Writer", List.of("Decrypt", "GenerateDataKey")));
        assertEquals(3, kms.listGrants(r -> r.keyId(key.arn)).grants().size());
        var grants = kms.listGrantsPaginator(r -> r.keyId(key.arn)).grants().stream().toList();
        assertEquals(7, grants.stream().map(grant -> grant.grantId()).distinct().count());
        assertEquals(List.of("Decrypt", "GenerateDataKey"), grants.get(0).operationsAsStrings());
        assertEquals(key.arn, grants.get(0).keyId());
        assertEquals(4, kms.listGrantsPaginator(r -> r.keyId(key.arn).granteePrincipal(ROOT)).grants().stream()
                .count());
        assertEquals("grant-5", kms.listGrants(r -> r.keyId(key.arn).grantId("grant-5")).grants().get(0).grantId());
        kms.createAlias(r -> r.aliasName(alias).targetKeyId(key.keyId));
        assertError("NotFoundException", () -> kms.listGrants(r -> r.keyId(alias)));
    }

    @Test
    void theKeysOfAMultiRegionKeyKnowEachOtherAndHavePoliciesOfTheirOwn() {
        var primary = aws.kms.createMultiRegionKey(REGION, "eu-west-2", "us-east-1");
        var replica = aws.kms.find(primary.keyId, "us-east-1");
        try (var elsewhere = client("us-east-1",
                AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY))) {
            var seen = elsewhere.describeKey(r -> r.keyId(primary.keyId)).keyMetadata();
            assertTrue(seen.multiRegion());
            assertEquals(replica.arn, seen.arn());
            assertEquals(MultiRegionKeyType.REPLICA, seen.multiRegionConfiguration().multiRegionKeyType());
            assertEquals(primary.arn, seen.multiRegionConfiguration().primaryKey().arn());
            assertEquals(List.of("eu-west-2", "us-east-1"), seen.multiRegionConfiguration().replicaKeys().stream()
                    .map(MultiRegionKey::region).toList());
        }
        assertEquals(MultiRegionKeyType.PRIMARY, kms.describeKey(r -> r.keyId(primary.arn)).keyMetadata()
                .multiRegionConfiguration().multiRegionKeyType());
        kms.putKeyPolicy(r -> r.keyId(primary.keyId).policy(policy(decryptFor("'*'"))));
        assertFalse(replica.policy.contains("kms:Decrypt"));
        assertFalse(kms.describeKey(r -> r.keyId(key.arn)).keyMetadata().multiRegion());
    }

    @Test
    void saysWhatItDoesNotOffer() {
        List<Consumer<CreateKeyRequest.Builder>> unknown = List.of(r -> r.keySpec(KeySpec.RSA_2048),
                r -> r.multiRegion(true),
                r -> r.origin(OriginType.EXTERNAL));
        for (var request : unknown) assertError("UnsupportedOperationException", () -> kms.createKey(request));
        assertError("UnknownOperationException", () -> kms.rotateKeyOnDemand(r -> r.keyId(key.keyId)));
        assertError("ValidationException", () -> kms.describeKey(r -> { }));
    }

    @Test
    void misbehavesOnDemand() {
        aws.inject(Fault.on("kms:DescribeKey").times(2).throttle());
        assertEquals(key.arn, kms.describeKey(r -> r.keyId(key.keyId)).keyMetadata().arn());
        aws.inject(Fault.on("kms:DescribeKey").always().flip(0));
        assertThrows(SdkClientException.class, () -> kms.describeKey(r -> r.keyId(key.keyId)));
    }

    // Other witnesses

    @TempDir
    static Path temp;

    record Ran(int exitCode, String out, String err) {
        JsonNode json() throws IOException {
            return Models.JSON.readTree(out);
        }
    }

    static Ran run(Map<String, String> environment, String... command) throws Exception {
        var out = Files.createTempFile(temp, "out", "");
        var err = Files.createTempFile(temp, "err", "");
        var builder = new ProcessBuilder(command).redirectOutput(out.toFile()).redirectError(err.toFile());
        builder.environment().keySet().removeIf(name -> name.startsWith("AWS_"));
        builder.environment().putAll(environment);
        return new Ran(builder.start().waitFor(), Files.readString(out), Files.readString(err));
    }

    static boolean runs(String... command) throws InterruptedException {
        try {
            return new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.DISCARD)
                    .start().waitFor() == 0;
        } catch (IOException e) {
            return false;
        }
    }

    static Ran cli(String... arguments) throws Exception {
        var command = new ArrayList<>(
                List.of("aws", "--endpoint-url", aws.endpoint().toString(), "--output", "json", "kms"));
        command.addAll(List.of(arguments));
        return run(new TreeMap<>(Map.of("AWS_ACCESS_KEY_ID", LocalAws.ACCESS_KEY_ID, "AWS_SECRET_ACCESS_KEY",
                LocalAws.SECRET_ACCESS_KEY,
                "AWS_DEFAULT_REGION", REGION, "AWS_CONFIG_FILE", "/dev/null",
                "AWS_SHARED_CREDENTIALS_FILE", "/dev/null", "AWS_EC2_METADATA_DISABLED", "true", "AWS_PAGER", "")),
                command.toArray(String[]::new));
    }

    @Test
    void theAwsCliSeesTheSame() throws Exception {
        assumeTrue(runs("aws", "--version"), "the AWS CLI is missing");
        var statement = "{'Sid':'Use','Effect':'Allow',"
                + "'Principal':{'AWS':'arn:aws:iam::111122223333:role/Developer'},'Action':'kms:Decrypt',"
                + "'Resource':'*'}";
        var made = cli("create-key", "--description", "by the CLI", "--policy", policy(statement), "--tags",
                "TagKey=Team,TagValue=Payments");
        assertEquals(0, made.exitCode(), made.err());
        var id = made.json().at("/KeyMetadata/KeyId").asText();
        assertEquals("by the CLI", aws.kms.find(id, REGION).description);
        assertEquals(0, cli("create-alias", "--alias-name", alias, "--target-key-id", id).exitCode());
        assertEquals(id, cli("describe-key", "--key-id", alias).json().at("/KeyMetadata/KeyId").asText());
        for (var i = 0; i < 5; i++) aws.kms.createKey(REGION);
        aws.kms.find("alias/aws/codecommit", REGION);
        assertEquals(aws.kms.keys(REGION).size() + 1, cli("list-keys").json().path("Keys").size(),
                "the CLI follows the pages");
        var refused = cli("schedule-key-deletion", "--key-id", id, "--pending-window-in-days", "5");
        assertNotEquals(0, refused.exitCode());
        assertTrue(refused.err().contains("(ValidationException)"), refused.err());
    }

    /** Requests that KMS refuses, by name; both get them. */
    static Map<String, Consumer<KmsClient>> refused(String keyId) {
        var calls = new LinkedHashMap<String, Consumer<KmsClient>>();
        calls.put("unknown key", kms -> kms.describeKey(r -> r.keyId("1234abcd-12ab-34cd-56ef-1234567890ab")));
        calls.put("unknown alias", kms -> kms.describeKey(r -> r.keyId("alias/nothing")));
        calls.put("alias without prefix", kms -> kms.createAlias(r -> r.aliasName("codecommit").targetKeyId(keyId)));
        calls.put("alias with a dot", kms -> kms.createAlias(r -> r.aliasName("alias/a.b").targetKeyId(keyId)));
        calls.put("alias of an unknown key", kms -> kms
                .createAlias(r -> r.aliasName("alias/new").targetKeyId("1234abcd-12ab-34cd-56ef-1234567890ab")));
        calls.put("alias that is taken", kms -> {
            kms.createAlias(r -> r.aliasName("alias/taken-" + keyId).targetKeyId(keyId));
            kms.createAlias(r -> r.aliasName("alias/taken-" + keyId).targetKeyId(keyId));
        });
        calls.put("alias of an alias",
                kms -> kms.createAlias(r -> r.aliasName("alias/second-" + keyId).targetKeyId("alias/taken-" + keyId)));
        calls.put("rotation by alias", kms -> kms.enableKeyRotation(r -> r.keyId("alias/taken-" + keyId)));
        calls.put("rotation too often", kms -> kms.enableKeyRotation(r -> r.keyId(keyId).rotationPeriodInDays(89)));
        calls.put("policy of another name",
                kms -> kms.putKeyPolicy(r -> r.keyId(keyId).policyName("other").policy("{}")));
        calls.put("tags of an unknown key",
                kms -> kms.listResourceTags(r -> r.keyId("1234abcd-12ab-34cd-56ef-1234567890ab")));
        calls.put("deletion by alias", kms -> kms.scheduleKeyDeletion(r -> r.keyId("alias/taken-" + keyId)));
        calls.put("deletion in a year", kms -> kms.scheduleKeyDeletion(r -> r.keyId(keyId).pendingWindowInDays(366)));
        return calls;
    }

    /** moto is kinder than AWS in much; where it refuses, it is with the same code. */
    @Test
    void motoRefusesWithTheSameCodes() throws Exception {
        assumeTrue(runs("python3", "-c", "import moto.server"), "moto is missing");
        var log = Files.createTempFile(temp, "moto", "");
        var moto = new ProcessBuilder("python3", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0")
                .redirectErrorStream(true).redirectOutput(log.toFile()).start();
        try (var other = client(endpoint(moto, log), REGION,
                AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY))) {
            var theirs = outcomes(other, refused(other.createKey().keyMetadata().keyId()));
            var ours = outcomes(kms, refused(key.keyId));
            assertFalse(ours.containsValue("taken"), ours.toString());
            var agreed = new TreeMap<>(ours);
            agreed.entrySet().removeIf(outcome -> theirs.get(outcome.getKey()).equals("taken"));
            theirs.values().removeIf("taken"::equals);
            assertEquals(agreed, theirs);
            assertTrue(theirs.size() >= 8, "compared: " + theirs);
        } finally {
            moto.descendants().forEach(ProcessHandle::destroy);
            moto.destroy();
        }
    }

    /** Where moto listens, which it says when it does: on a port that was free. */
    private static URI endpoint(Process moto, Path log) throws Exception {
        while (true) {
            var address = Pattern.compile("Running on (http://\\S+)").matcher(Files.readString(log));
            if (address.find()) {
                return URI.create(address.group(1));
            }
            assertTrue(moto.isAlive(), () -> "moto does not start");
            Thread.sleep(10);
        }
    }

    private static Map<String, String> outcomes(KmsClient kms, Map<String, Consumer<KmsClient>> calls) {
        var outcomes = new TreeMap<String, String>();
        calls.forEach((name, call) -> {
            try {
                call.accept(kms);
                outcomes.put(name, "taken");
            } catch (AwsServiceException e) {
                outcomes.put(name, e.awsErrorDetails().errorCode());
            }
        });
        return outcomes;
    }
}
