package localaws;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** One AWS account and what is in it. Buckets are in {@link LocalAws#s3}, which knows the account of each. */
public final class Account {
    public final String id;
    public final Iam iam;
    public final Kms kms;
    public final Ec2 ec2;
    public final CodeCommit codecommit;
    public final CloudWatch cloudwatch;
    public final Events events;
    public final Sns sns;
    /** What rules of EventBridge may have as targets, by the service in the target's ARN. */
    final Map<String, Events.Target> targets = new ConcurrentHashMap<>();
    final Map<String, LocalAws.Service> services;

    /** With a user named operator, an administrator. */
    Account(LocalAws aws, String id) {
        this.id = id;
        iam = new Iam(aws, id);
        kms = new Kms(aws, id);
        ec2 = new Ec2(aws, id);
        codecommit = new CodeCommit(aws, id);
        cloudwatch = new CloudWatch(aws, id);
        events = new Events(aws, id);
        sns = new Sns(aws, id);
        services = Map.of("sts", aws.sts, "iam", iam, "kms", kms, "ec2", ec2, "codecommit", codecommit, "events",
                events, "sns", sns, "cloudwatch", cloudwatch);
        aws.timers.add(events);
        aws.timers.add(cloudwatch);
        iam.createUser("operator").attached.add("aws:policy/AdministratorAccess");
    }
}
