package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

public final class Iam implements LocalAws.Service {
    Iam(LocalAws aws) {
    }

    public void createRole(String name) {
    }

    public void createUser(String name) {
    }

    public void createRoleVisibleAfter(String name, int n) {
    }

    boolean exists(String arn) {
        return true;
    }

    boolean visibleToKms(String arn) {
        return true;
    }

    @Override
    public JsonNode answer(String operation, ObjectNode input, Caller caller) {
        throw new AwsError("InvalidAction", operation);
    }
}
