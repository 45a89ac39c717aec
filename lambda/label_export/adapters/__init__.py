"""The only places that know Encord, S3, SQS and Secrets Manager."""
