"""Resources that scenario `alternative` names and this repository does not create; created as the root user.

Writes the names to .local/state/alternative.json, where the scenario's inventory finds them. Existing ones are kept.
With ``remove`` it deletes those that other scenarios would see in the account.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "scripts"))

from cryptography.hazmat.primitives.serialization import (  # noqa: E402 - found through the path above
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_ssh_private_key,
)
from local_stack import LocalStack  # noqa: E402 - found through the path above

NAME = "label-export-alternative"
# A boundary only limits; the role's policy decides what the role may do within it.
BOUNDARY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}

# The statements that AWS requires to let alarms publish to a topic that a customer managed key encrypts.
KEY_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:*", "Resource": "*"},
        {
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": "*",
        },
    ],
}


OUTPUT = ROOT / ".local" / "state" / "alternative.json"
LOGS = f"{NAME}-access-logs"


def remove(stack: LocalStack) -> None:
    given = json.loads(OUTPUT.read_text())
    stack.aws("s3").delete_bucket(Bucket=LOGS)
    stack.aws("iam").delete_policy(PolicyArn=given["boundary"])
    stack.aws("secretsmanager").delete_secret(SecretId=given["passphrase_secret_arn"], ForceDeleteWithoutRecovery=True)
    stack.aws("sns").delete_topic(TopicArn=given["other_topic"])
    stack.aws("kms").schedule_key_deletion(KeyId=given["kms_key_arn"], PendingWindowInDays=7)
    OUTPUT.unlink()


def make(stack: LocalStack) -> None:
    # What an earlier stack had was removed with it.
    made = {bucket["Name"] for bucket in stack.aws("s3").list_buckets()["Buckets"]}
    if OUTPUT.exists() and LOGS in made:
        return
    stack.aws("s3").create_bucket(Bucket=LOGS, CreateBucketConfiguration={"LocationConstraint": stack.facts["region"]})
    boundary = stack.aws("iam").create_policy(PolicyName=f"{NAME}-boundary", PolicyDocument=json.dumps(BOUNDARY))
    passphrase = secrets.token_urlsafe()
    secret = stack.aws("secretsmanager").create_secret(Name=f"{NAME}/passphrase", SecretString=passphrase)
    private_key = load_ssh_private_key(Path(stack.facts["encord_private_key_file"]).read_bytes(), None)
    locked = private_key.private_bytes(
        Encoding.PEM, PrivateFormat.OpenSSH, BestAvailableEncryption(passphrase.encode())
    )
    source = OUTPUT.with_name("alternative-handler")
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "lambda", source, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    ec2 = stack.aws("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/24")["Vpc"]["VpcId"]
    kms = stack.aws("kms")
    key = kms.create_key(Policy=json.dumps(KEY_POLICY))["KeyMetadata"]["Arn"]
    OUTPUT.touch(mode=0o600)
    OUTPUT.write_text(
        json.dumps(
            {
                "kms_key_arn": key,
                "other_topic": stack.aws("sns").create_topic(Name=f"{NAME}-other")["TopicArn"],
                "access_log_bucket": LOGS,
                "boundary": boundary["Policy"]["Arn"],
                "passphrase_secret_arn": secret["ARN"],
                "private_key": locked.decode(),
                "handler_source": str(source),
                "url_token": secrets.token_urlsafe(32),
                "subnet": ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/26")["Subnet"]["SubnetId"],
                "security_group": ec2.create_security_group(VpcId=vpc, GroupName=NAME, Description=NAME)["GroupId"],
            }
        )
    )
    print("made")


if __name__ == "__main__":
    (remove if sys.argv[1:] == ["remove"] else make)(LocalStack())
