package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

public final class Ec2 implements LocalAws.Service {
    Ec2(LocalAws aws) {
    }

    @Override
    public JsonNode answer(String operation, ObjectNode input, Caller caller) {
        throw new AwsError("InvalidAction", operation);
    }
}
