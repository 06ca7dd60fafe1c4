import localaws.LocalAws;
import localaws.S3;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;

/** Gives each test of a class an embedded AWS of its own, with an empty bucket named backups. */
abstract class EmptyBucket {
    LocalAws aws;
    S3.Bucket bucket;

    @BeforeEach
    void startAws() {
        aws = LocalAws.start();
        bucket = aws.s3.createBucket("backups", "eu-west-1");
    }

    @AfterEach
    void stopAws() {
        aws.close();
    }
}
