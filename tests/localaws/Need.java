package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import localaws.PolicyEvaluator.Policy;

/**
 * What a call must be allowed: an action on a resource, as AWS's Service Authorization Reference has them. Most calls
 * need one; some need several, each of which is decided by itself.
 *
 * @param resource an ARN, or {@code *} for actions that have no resource
 * @param owner    the account that owns the resource; null for the one in the ARN, or the caller's
 * @param policy   the resource's own policy, or null
 * @param keys     the service's condition keys; the Authorizer adds those of every request
 * @param lists    the keys among them that are lists, though AWS's definition or a single value does not say so
 * @param shown    how the service's messages name the resource; null for its ARN
 */
record Need(String action, String resource, String owner, Policy policy, Map<String, List<String>> keys,
        Set<String> lists, String shown) {
    private static final Policy NONE = Policy.of("none", "{\"Statement\":[]}");

    Need(String action, String resource) {
        this(action, resource, null, null, Map.of(), Set.of(), null);
    }

    Need owner(String account) {
        return new Need(action, resource, account, policy, keys, lists, shown);
    }

    /** A resource that could have a policy and has none: others' accounts have no way to it. */
    Need policy(String id, String document) {
        var parsed = document == null ? NONE : Policy.of(id, document);
        return new Need(action, resource, owner, parsed, keys, lists, shown);
    }

    Need shown(String name) {
        return new Need(action, resource, owner, policy, keys, lists, name);
    }

    /** With a value for a condition key; null is no value. */
    Need key(String name, String value) {
        return value == null ? this : keys(name, List.of(value));
    }

    Need keys(String name, List<String> values) {
        var more = new TreeMap<>(keys);
        more.put(name, values);
        return new Need(action, resource, owner, policy, more, lists, shown);
    }

    /** With values that are a list, be it of one. */
    Need list(String name, List<String> values) {
        var more = new TreeSet<>(lists);
        more.add(name);
        return new Need(action, resource, owner, policy, keys(name, values).keys, more, shown);
    }

    /** With the tags that the resource has. */
    Need resourceTags(Map<String, String> tags) {
        return tagged("aws:ResourceTag/", tags);
    }

    /** With the tags that the request gives. */
    Need requestTags(Map<String, String> tags) {
        return tags.isEmpty() ? this
                : tagged("aws:RequestTag/", tags).keys("aws:TagKeys", List.copyOf(new TreeSet<>(tags.keySet())));
    }

    private Need tagged(String prefix, Map<String, String> tags) {
        if (tags.isEmpty()) return this;
        var more = new TreeMap<>(keys);
        tags.forEach((key, value) -> more.put(prefix + key, List.of(value)));
        return new Need(action, resource, owner, policy, more, lists, shown);
    }

    /** The tags of a list of objects, by the members that hold key and value. */
    static Map<String, String> tags(JsonNode list, String key, String value) {
        var tags = new TreeMap<String, String>();
        for (var tag : list) tags.put(tag.path(key).asText(), tag.path(value).asText());
        return tags;
    }

    /** As EventBridge, SNS and CloudWatch list them. */
    static ArrayNode list(Map<String, String> tags) {
        var list = Models.JSON.createArrayNode();
        tags.forEach((key, value) -> list.addObject().put("Key", key).put("Value", value));
        return list;
    }
}
