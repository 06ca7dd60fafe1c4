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
    public final CodeBuild codebuild;
    public final Logs logs;
    public final Events events;
    public final Sns sns;
    public final Lambda lambda;
    public final CloudTrail cloudtrail;
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
        codebuild = new CodeBuild(aws, id);
        logs = new Logs(aws);
        events = new Events(aws, id);
        sns = new Sns(aws, id);
        lambda = new Lambda(aws, id);
        cloudtrail = new CloudTrail(aws, id);
        services = Map.ofEntries(Map.entry("sts", aws.sts), Map.entry("iam", iam), Map.entry("kms", kms),
                Map.entry("ec2", ec2), Map.entry("codecommit", codecommit), Map.entry("cloudwatch", cloudwatch),
                Map.entry("codebuild", codebuild), Map.entry("events", events), Map.entry("logs", logs),
                Map.entry("sns", sns), Map.entry("lambda", lambda), Map.entry("cloudtrail", cloudtrail));
        targets.put("codebuild", codebuild::invoke);
        aws.timers.add(events);
        aws.timers.add(cloudwatch);
        iam.createUser("operator").attached.add("aws:policy/AdministratorAccess");
    }
}
