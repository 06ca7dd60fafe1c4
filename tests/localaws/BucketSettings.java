package localaws;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.format.DateTimeParseException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Pattern;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.parsers.ParserConfigurationException;
import org.w3c.dom.Element;
import org.w3c.dom.Node;
import org.xml.sax.SAXException;

/**
 * The settings of one bucket that are XML: what S3 takes for each, and how it gives it back. Rules are those of S3's
 * API Reference unless another source is named.
 */
final class BucketSettings {
    private static final String XMLNS = " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";
    /** A default retention in years is one of so many days. */
    private static final int DAYS_OF_A_YEAR = 365;

    /** One kind of setting, which is addressed by a query parameter. */
    enum Setting {
        PUBLIC_ACCESS_BLOCK("PublicAccessBlock", "BucketPublicAccessBlock", "publicAccessBlock",
                "PublicAccessBlockConfiguration", "NoSuchPublicAccessBlockConfiguration",
                "The public access block configuration was not found", "BlockPublicAcls", "IgnorePublicAcls",
                "BlockPublicPolicy", "RestrictPublicBuckets"),
        OWNERSHIP("BucketOwnershipControls", "BucketOwnershipControls", "ownershipControls", "OwnershipControls",
                "OwnershipControlsNotFoundError", "The bucket ownership controls were not found", "Rule",
                "Rule/ObjectOwnership"),
        VERSIONING("BucketVersioning", "BucketVersioning", "versioning", "VersioningConfiguration", null, null,
                "Status"),
        ENCRYPTION("BucketEncryption", "EncryptionConfiguration", "encryption", "ServerSideEncryptionConfiguration",
                "ServerSideEncryptionConfigurationNotFoundError",
                "The server side encryption configuration was not found", "Rule",
                "Rule/ApplyServerSideEncryptionByDefault", "Rule/ApplyServerSideEncryptionByDefault/SSEAlgorithm",
                "Rule/ApplyServerSideEncryptionByDefault/KMSMasterKeyID", "Rule/BucketKeyEnabled",
                "Rule/BlockedEncryptionTypes", "Rule/BlockedEncryptionTypes/EncryptionType"),
        OBJECT_LOCK("ObjectLockConfiguration", "BucketObjectLockConfiguration", "object-lock",
                "ObjectLockConfiguration", "ObjectLockConfigurationNotFoundError",
                "Object Lock configuration does not exist for this bucket", "ObjectLockEnabled", "Rule",
                "Rule/DefaultRetention", "Rule/DefaultRetention/Mode", "Rule/DefaultRetention/Days",
                "Rule/DefaultRetention/Years"),
        LIFECYCLE("BucketLifecycleConfiguration", "LifecycleConfiguration", "lifecycle", "LifecycleConfiguration",
                "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist", "Rule", "Rule/ID",
                "Rule/Status", "Rule/Prefix", "Rule/Filter", "Rule/Filter/Prefix", "Rule/Filter/Tag",
                "Rule/Filter/Tag/Key", "Rule/Filter/Tag/Value", "Rule/Filter/ObjectSizeGreaterThan",
                "Rule/Filter/ObjectSizeLessThan", "Rule/Filter/And", "Rule/Filter/And/Prefix", "Rule/Filter/And/Tag",
                "Rule/Filter/And/Tag/Key", "Rule/Filter/And/Tag/Value", "Rule/Filter/And/ObjectSizeGreaterThan",
                "Rule/Filter/And/ObjectSizeLessThan", "Rule/Expiration", "Rule/Expiration/Days",
                "Rule/Expiration/Date", "Rule/Expiration/ExpiredObjectDeleteMarker",
                "Rule/NoncurrentVersionExpiration", "Rule/NoncurrentVersionExpiration/NoncurrentDays",
                "Rule/NoncurrentVersionExpiration/NewerNoncurrentVersions", "Rule/AbortIncompleteMultipartUpload",
                "Rule/AbortIncompleteMultipartUpload/DaysAfterInitiation", "Rule/Transition", "Rule/Transition/Days",
                "Rule/Transition/Date", "Rule/Transition/StorageClass"),
        TAGGING("BucketTagging", "BucketTagging", "tagging", "Tagging", "NoSuchTagSet", "The TagSet does not exist",
                "TagSet", "TagSet/Tag", "TagSet/Tag/Key", "TagSet/Tag/Value");

        /** Behind Get and Put. */
        final String operation;
        /** Behind s3:Get and s3:Put. */
        final String action;
        final String parameter;
        private final String root;
        private final String noneCode;
        private final String noneMessage;
        private final Set<String> paths;

        Setting(String operation, String action, String parameter, String root, String noneCode, String noneMessage,
                String... paths) {
            this.operation = operation;
            this.action = action;
            this.parameter = parameter;
            this.root = root;
            this.noneCode = noneCode;
            this.noneMessage = noneMessage;
            this.paths = Set.of(paths);
        }

        /** Versions and locks stay (User Guide, "Locking objects with Object Lock"). */
        boolean isRemovable() {
            return this != VERSIONING && this != OBJECT_LOCK;
        }

        /** The operation that takes it away. */
        String removal() {
            return "Delete" + operation.replace("Configuration", "");
        }

        private String xml(String content) {
            return "<" + root + XMLNS + ">" + content + "</" + root + ">";
        }
    }

    private final Map<Setting, String> documents = new ConcurrentHashMap<>();

    /** Those of a new bucket: private, ACLs off, encrypted under S3's own keys. */
    BucketSettings() {
        encryptUnderS3sKeys();
        set(Setting.PUBLIC_ACCESS_BLOCK, "<BlockPublicAcls>true</BlockPublicAcls>"
                + "<IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy>"
                + "<RestrictPublicBuckets>true</RestrictPublicBuckets>");
        set(Setting.OWNERSHIP, "<Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule>");
    }

    private void encryptUnderS3sKeys() {
        set(Setting.ENCRYPTION, "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>"
                + "</ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled></Rule>");
    }

    /** Without asking whether S3 would take it; null takes the setting away. */
    void set(Setting setting, String content) {
        if (content == null) {
            documents.remove(setting);
        } else {
            documents.put(setting, setting.xml(content));
        }
    }

    String get(Setting setting) {
        var document = documents.get(setting);
        if (document == null && setting.noneCode != null) {
            throw new AwsError(404, setting.noneCode, setting.noneMessage);
        }
        return document == null ? setting.xml("") : document;
    }

    /** Objects are encrypted always, so that setting is only set back. */
    void remove(Setting setting) {
        documents.remove(setting);
        if (setting == Setting.ENCRYPTION) encryptUnderS3sKeys();
    }

    void put(Setting setting, byte[] body) {
        var document = parse(body);
        if (!document.getTagName().equals(setting.root)) throw malformed();
        checkPaths(document, "", setting.paths);
        switch (setting) {
            case PUBLIC_ACCESS_BLOCK -> children(document, "*").forEach(flag -> oneOf(flag, "true|false"));
            case OWNERSHIP -> oneOf(only(only(document, "Rule"), "ObjectOwnership"),
                    "BucketOwnerEnforced|BucketOwnerPreferred|ObjectWriter");
            case VERSIONING -> checkVersioning(document);
            case ENCRYPTION -> checkEncryption(only(document, "Rule"));
            case OBJECT_LOCK -> checkLock(document);
            case LIFECYCLE -> checkLifecycle(document);
            case TAGGING -> checkTags(tags(only(document, "TagSet")));
            default -> throw new IllegalStateException(setting.name());
        }
        documents.put(setting, new String(body, StandardCharsets.UTF_8).replaceFirst("^\\s*<\\?xml[^>]*>\\s*", ""));
    }

    // What the rest of S3 asks

    boolean isVersioned() {
        return text(Setting.VERSIONING, "Status").equals("Enabled");
    }

    boolean isLockEnabled() {
        return text(Setting.OBJECT_LOCK, "ObjectLockEnabled").equals("Enabled");
    }

    boolean blocksPublicPolicies() {
        return text(Setting.PUBLIC_ACCESS_BLOCK, "BlockPublicPolicy").equals("true");
    }

    /** AES256 or aws:kms. */
    String algorithm() {
        return text(Setting.ENCRYPTION, "SSEAlgorithm");
    }

    /** As it was given; "" where it is the AWS managed key. */
    String kmsKey() {
        return text(Setting.ENCRYPTION, "KMSMasterKeyID");
    }

    boolean hasBucketKey() {
        return text(Setting.ENCRYPTION, "BucketKeyEnabled").equals("true");
    }

    boolean blocksCustomerKeys() {
        return text(Setting.ENCRYPTION, "EncryptionType").equals("SSE-C");
    }

    /** GOVERNANCE, COMPLIANCE, or "" where new objects are not locked. */
    String retentionMode() {
        return text(Setting.OBJECT_LOCK, "Mode");
    }

    Duration retention() {
        var days = text(Setting.OBJECT_LOCK, "Days");
        return Duration.ofDays(days.isEmpty() ? (long) DAYS_OF_A_YEAR * Integer.parseInt(text(Setting.OBJECT_LOCK,
                "Years")) : Integer.parseInt(days));
    }

    Map<String, String> tags() {
        var document = documents.get(Setting.TAGGING);
        var tags = new TreeMap<String, String>();
        if (document != null) {
            tags(only(parse(document.getBytes(StandardCharsets.UTF_8)), "TagSet"))
                    .forEach(tag -> tags.put(tag[0], tag[1]));
        }
        return tags;
    }

    /** The text of the first element of this name; "" if there is none. */
    private String text(Setting setting, String element) {
        var found = Pattern.compile("<" + element + ">([^<]*)</").matcher(documents.getOrDefault(setting, ""));
        return found.find() ? found.group(1) : "";
    }

    // Rules

    private void checkVersioning(Element document) {
        var status = oneOf(only(document, "Status"), "Enabled|Suspended");
        if (status.equals("Suspended") && isLockEnabled()) {
            throw new AwsError(409, "InvalidBucketState", "An Object Lock configuration is present on this bucket,"
                    + " so the versioning state cannot be changed.");
        }
        if (status.equals("Suspended")) {
            throw new AwsError(501, "NotImplemented", "The embedded AWS does not suspend versioning");
        }
    }

    /** The key is not looked up (API Reference, PutBucketEncryption): a typing error shows with the first upload. */
    private static void checkEncryption(Element rule) {
        var byDefault = only(rule, "ApplyServerSideEncryptionByDefault");
        var algorithm = oneOf(only(byDefault, "SSEAlgorithm"), "AES256|aws:kms|aws:kms:dsse");
        if (algorithm.equals("AES256") && !children(byDefault, "KMSMasterKeyID").isEmpty()) {
            throw new AwsError("InvalidArgument",
                    "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse");
        }
        if (algorithm.equals("aws:kms:dsse")) {
            throw new AwsError(501, "NotImplemented", "The embedded AWS does not offer aws:kms:dsse");
        }
        for (var blocked : children(rule, "BlockedEncryptionTypes")) {
            children(blocked, "EncryptionType").forEach(type -> oneOf(type, "SSE-C|NONE"));
        }
    }

    private void checkLock(Element document) {
        oneOf(only(document, "ObjectLockEnabled"), "Enabled");
        // one that was enabled with the bucket, or, since November 2023, on a versioned one
        if (!isVersioned()) {
            throw new AwsError(409, "InvalidBucketState",
                    "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration");
        }
        for (var rule : children(document, "Rule")) {
            var retention = only(rule, "DefaultRetention");
            oneOf(only(retention, "Mode"), "GOVERNANCE|COMPLIANCE");
            var days = children(retention, "Days");
            var years = children(retention, "Years");
            if (days.size() + years.size() != 1) throw malformed();
            for (var period : days) {
                atMost(period, 36500, "Default retention period must be a positive integer value of at most 36500"
                        + " days.");
            }
            for (var period : years) {
                atMost(period, 100, "Default retention period must be a positive integer value of at most 100 years.");
            }
        }
    }

    private static void atMost(Element period, int most, String message) {
        var text = period.getTextContent();
        if (!text.matches("\\d{1,6}") || Integer.parseInt(text) < 1 || Integer.parseInt(text) > most) {
            throw new AwsError("InvalidRetentionPeriod", message);
        }
    }

    private static void checkLifecycle(Element document) {
        var rules = children(document, "Rule");
        if (rules.isEmpty() || rules.size() > 1000) throw malformed();
        var ids = new HashSet<String>();
        for (var rule : rules) {
            for (var id : children(rule, "ID")) {
                if (id.getTextContent().length() > 255) {
                    throw new AwsError("InvalidArgument", "ID length should not exceed allowed limit of 255");
                }
                if (!ids.add(id.getTextContent())) {
                    throw new AwsError("InvalidArgument", "Rule ID must be unique. Found same ID for more than one"
                            + " rule");
                }
            }
            oneOf(only(rule, "Status"), "Enabled|Disabled");
            // the older Prefix of the rule itself stands for a filter
            if (children(rule, "Filter").size() + children(rule, "Prefix").size() != 1) throw malformed();
            checkActions(rule);
        }
    }

    private static void checkActions(Element rule) {
        var expirations = children(rule, "Expiration");
        var noncurrent = children(rule, "NoncurrentVersionExpiration");
        var aborts = children(rule, "AbortIncompleteMultipartUpload");
        var transitions = children(rule, "Transition");
        if (expirations.size() + noncurrent.size() + aborts.size() + transitions.size() == 0) {
            throw new AwsError("InvalidRequest", "At least one action needs to be specified in a rule");
        }
        for (var expiration : expirations) {
            if (children(expiration, "*").size() != 1) throw malformed();
            children(expiration, "Days").forEach(days -> positive(days, "'Days' for Expiration action"));
        }
        noncurrent.forEach(action -> positive(only(action, "NoncurrentDays"),
                "'NoncurrentDays' for NoncurrentVersionExpiration action"));
        for (var abort : aborts) {
            positive(only(abort, "DaysAfterInitiation"),
                    "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action");
            if (rule.getElementsByTagName("Tag").getLength() > 0) {
                throw new AwsError("InvalidRequest",
                        "AbortIncompleteMultipartUpload cannot be specified with Tags.");
            }
            if (rule.getElementsByTagName("ObjectSizeGreaterThan").getLength() > 0
                    || rule.getElementsByTagName("ObjectSizeLessThan").getLength() > 0) {
                throw new AwsError("InvalidRequest",
                        "AbortIncompleteMultipartUpload cannot be specified with Object Size.");
            }
        }
        for (var transition : transitions) {
            var storageClass = oneOf(only(transition, "StorageClass"),
                    "STANDARD_IA|ONEZONE_IA|INTELLIGENT_TIERING|GLACIER|GLACIER_IR|DEEP_ARCHIVE");
            for (var days : children(transition, "Days")) {
                if (storageClass.matches("STANDARD_IA|ONEZONE_IA") && Integer.parseInt(days.getTextContent()) < 30) {
                    throw new AwsError("InvalidArgument", "'Days' in Transition action must be greater than or equal"
                            + " to 30 for storageClass '" + storageClass + "'");
                }
            }
        }
    }

    private static void positive(Element number, String what) {
        if (!number.getTextContent().matches("[1-9]\\d{0,8}")) {
            throw new AwsError("InvalidArgument", what + " must be a positive integer");
        }
    }

    private static List<String[]> tags(Element tagSet) {
        return children(tagSet, "Tag").stream().map(tag -> new String[] {only(tag, "Key").getTextContent(),
                only(tag, "Value").getTextContent()}).toList();
    }

    private static void checkTags(List<String[]> tags) {
        var keys = new HashSet<String>();
        for (var tag : tags) {
            if (tag[0].isEmpty() || tag[0].length() > 128) {
                throw new AwsError("InvalidTag", "The TagKey you have provided is invalid");
            }
            if (tag[1].length() > 256 || !(tag[0] + tag[1]).matches("[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*")) {
                throw new AwsError("InvalidTag", "The TagValue you have provided is invalid");
            }
            if (tag[0].startsWith("aws:")) {
                throw new AwsError("InvalidTag", "System tags cannot be added/updated by requester");
            }
            if (!keys.add(tag[0])) {
                throw new AwsError("InvalidTag", "Cannot provide multiple Tags with the same key");
            }
        }
        if (tags.size() > 50) {
            throw new AwsError("InvalidTag", "Bucket tag count cannot be greater than 50");
        }
    }

    // XML

    static Element parse(byte[] body) {
        try {
            var factory = DocumentBuilderFactory.newInstance();
            factory.setFeature("http://apache.org/xml/features/disallow-doctype-decl", true);
            var builder = factory.newDocumentBuilder();
            builder.setErrorHandler(null);
            return builder.parse(new ByteArrayInputStream(body)).getDocumentElement();
        } catch (SAXException | IOException | ParserConfigurationException e) {
            throw malformed();
        }
    }

    static AwsError malformed() {
        return new AwsError("MalformedXML",
                "The XML you provided was not well-formed or did not validate against our published schema");
    }

    private static void checkPaths(Element parent, String path, Set<String> known) {
        for (var child : children(parent, "*")) {
            var name = path + child.getTagName();
            if (!known.contains(name)) throw malformed();
            checkPaths(child, name + "/", known);
        }
    }

    /** The elements right below, all or those of one name. */
    static List<Element> children(Element parent, String name) {
        var found = new ArrayList<Element>();
        for (Node node = parent.getFirstChild(); node != null; node = node.getNextSibling()) {
            if (node instanceof Element element && (name.equals("*") || element.getTagName().equals(name))) {
                found.add(element);
            }
        }
        return found;
    }

    /** The one element of this name right below. */
    static Element only(Element parent, String name) {
        var found = children(parent, name);
        if (found.size() != 1) throw malformed();
        return found.get(0);
    }

    private static String oneOf(Element element, String values) {
        if (!element.getTextContent().matches(values)) throw malformed();
        return element.getTextContent();
    }

    // Retention of objects

    /**
     * How long a version is locked.
     *
     * @param mode GOVERNANCE or COMPLIANCE
     */
    record Retention(String mode, Instant until) {
        static final String MODE = "x-amz-object-lock-mode";
        static final String UNTIL = "x-amz-object-lock-retain-until-date";

        static Retention of(String mode, String until, Instant now) {
            if (mode == null || until == null) {
                throw new AwsError("InvalidArgument", "x-amz-object-lock-retain-until-date and"
                        + " x-amz-object-lock-mode must both be supplied");
            }
            if (!mode.matches("GOVERNANCE|COMPLIANCE")) {
                throw new AwsError("InvalidArgument", "Unknown wormMode directive.");
            }
            Instant end;
            try {
                end = Instant.parse(until);
            } catch (DateTimeParseException e) {
                throw malformed();
            }
            if (!end.isAfter(now)) {
                throw new AwsError("InvalidArgument", "The retain until date must be in the future!");
            }
            return new Retention(mode, end);
        }

        /** What a version's headers say of it; null if it is not locked. */
        static Retention of(Map<String, String> headers) {
            return headers.containsKey(MODE) ? new Retention(headers.get(MODE), Instant.parse(headers.get(UNTIL)))
                    : null;
        }

        /** Whether an end or a change of mode before its time is refused; a lock that has run out refuses nothing. */
        boolean forbids(Retention other, boolean bypassed, Instant now) {
            if (!until.isAfter(now) || mode.equals("GOVERNANCE") && bypassed) return false;
            return other == null || other.until.isBefore(until) || !other.mode.equals(mode)
                    && mode.equals("COMPLIANCE");
        }
    }
}
