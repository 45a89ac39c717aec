"""The bucket: its own settings are created, kept and corrected, and settings of others stay."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from ansible_collections.label_export.aws.plugins.module_utils.s3_bucket import with_filter
from ansible_collections.label_export.aws.plugins.modules.s3_bucket import is_key, merged, wanted_settings
from fake_aws import ACCOUNT, Fake, RefusedError, Values, assert_converges, assert_gone, done, run

KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/0f0f0f0f"
REFUSE_PLAIN = {
    "Sid": "RefusePlainHttp",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"],
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}
TIDY = {
    "ID": "tidy",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
}
THEIR_STATEMENT = {"Sid": "Theirs", "Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "s3:GetObject"}
THEIR_RULE = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "old/"}, "Expiration": {"Days": 3}}
UNSET: Values = {
    "kms_key_arn": "",
    "policy_statements": [],
    "purged_sid_prefix": None,
    "lifecycle_rules": [],
    "event_bridge": False,
    "object_lock": False,
    "access_log_bucket": "",
    "access_log_prefix": "",
    "tags": {},
}
EVERYTHING: Values = {
    "name": "bucket",
    "kms_key_arn": KEY,
    "policy_statements": [REFUSE_PLAIN],
    "purged_sid_prefix": None,
    "lifecycle_rules": [TIDY],
    "event_bridge": True,
    "object_lock": False,
    "access_log_bucket": "logs",
    "access_log_prefix": "labels/",
    "tags": {"owner": "us"},
}


def setting(name: str, member: str, refusal: str | None) -> tuple[Any, Any]:
    """Return the methods that read and write one setting, which the API calls ``member``."""

    def read(self: FakeS3, _p: Values) -> Values:
        if name not in self.bucket() and refusal:
            raise RefusedError(refusal)
        return {member: self.bucket()[name]} if name in self.bucket() else {}

    def write(self: FakeS3, p: Values) -> None:
        self.bucket()[name] = p[member]

    return read, write


class FakeS3(Fake):
    """S3 with one bucket's settings in the API's form."""

    def __init__(self) -> None:
        super().__init__()
        self.region = "eu-west-1"
        self.versions: list[str] = []
        self.uploads: list[str] = []
        self.locked: list[str] = []
        self.owner = ACCOUNT

    def answer(self, operation: str, params: Values) -> Values:
        """S3 refuses a request that names another account as the bucket's owner."""
        if self.state and params.get("ExpectedBucketOwner", self.owner) != self.owner:
            raise RefusedError("403" if operation == "head_bucket" else "AccessDenied")
        return super().answer(operation, params)

    def bucket(self) -> Values:
        if not self.state:
            raise RefusedError("NoSuchBucket")
        found: Values = self.state
        return found

    def head_bucket(self, _p: Values) -> Values:
        if not self.state:
            raise RefusedError("404")
        return {"BucketRegion": self.region}

    def create_bucket(self, p: Values) -> None:
        assert p["CreateBucketConfiguration"] == {"LocationConstraint": "eu-west-1"}
        self.state = {
            "ownership": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
            "block": dict.fromkeys(
                ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
            ),
            "encryption": {
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]
            },
        }
        if p.get("ObjectLockEnabledForBucket"):
            self.state |= {"versioning": "Enabled", "lock": {"ObjectLockEnabled": "Enabled"}}

    get_bucket_ownership_controls, put_bucket_ownership_controls = setting(
        "ownership", "OwnershipControls", "OwnershipControlsNotFoundError"
    )
    get_public_access_block, put_public_access_block = setting(
        "block", "PublicAccessBlockConfiguration", "NoSuchPublicAccessBlockConfiguration"
    )
    get_bucket_encryption, put_bucket_encryption = setting(
        "encryption", "ServerSideEncryptionConfiguration", "ServerSideEncryptionConfigurationNotFoundError"
    )
    get_object_lock_configuration, _put_lock = setting(
        "lock", "ObjectLockConfiguration", "ObjectLockConfigurationNotFoundError"
    )
    get_bucket_tagging, _put_tags = setting("tags", "TagSet", "NoSuchTagSet")
    get_bucket_policy, put_bucket_policy = setting("policy", "Policy", "NoSuchBucketPolicy")
    _get_rules, _put_rules = setting("rules", "Rules", "NoSuchLifecycleConfiguration")

    def get_bucket_notification_configuration(self, _p: Values) -> Values:
        found: Values = self.bucket().get("notifications", {})
        return found

    def put_bucket_notification_configuration(self, p: Values) -> None:
        assert p["SkipDestinationValidation"] is True
        self.bucket()["notifications"] = p["NotificationConfiguration"]

    def put_bucket_tagging(self, p: Values) -> None:
        self._put_tags(p["Tagging"])

    def put_bucket_lifecycle_configuration(self, p: Values) -> None:
        rules = p["LifecycleConfiguration"]["Rules"]
        if len({"Filter" in rule for rule in rules}) != 1:
            raise RefusedError("InvalidRequest")  # Base level prefix cannot be used in Lifecycle V2.
        self._put_rules({"Rules": rules})
        self.bucket().pop("transitions", None)
        if "TransitionDefaultMinimumObjectSize" in p:
            self.bucket()["transitions"] = p["TransitionDefaultMinimumObjectSize"]

    def get_bucket_lifecycle_configuration(self, p: Values) -> Values:
        size = self.bucket().get("transitions")
        answer: Values = self._get_rules(p)
        return {**answer, **({"TransitionDefaultMinimumObjectSize": size} if size else {})}

    def get_bucket_policy_status(self, p: Values) -> Values:
        """Count a policy as public if an allowed principal is everyone and no condition narrows it."""
        statements = json.loads(self.get_bucket_policy(p)["Policy"])["Statement"]
        return {
            "PolicyStatus": {
                "IsPublic": any(
                    item["Effect"] == "Allow" and item["Principal"] == "*" and not item.get("Condition")
                    for item in (statements if isinstance(statements, list) else [statements])
                )
            }
        }

    def get_bucket_acl(self, _p: Values) -> Values:
        owners = {"Grantee": {"Type": "CanonicalUser", "ID": "owner"}, "Permission": "FULL_CONTROL"}
        return {"Owner": {"ID": "owner"}, "Grants": [owners, *self.bucket().get("grants", [])]}

    def get_bucket_versioning(self, _p: Values) -> Values:
        return {"Status": self.bucket()["versioning"]} if "versioning" in self.bucket() else {}

    def put_bucket_versioning(self, p: Values) -> None:
        self.bucket()["versioning"] = p["VersioningConfiguration"]["Status"]

    def get_bucket_logging(self, _p: Values) -> Values:
        found: Values = self.bucket().get("logging", {})
        return found

    def put_bucket_logging(self, p: Values) -> None:
        self.bucket()["logging"] = p["BucketLoggingStatus"]

    def list_object_versions(self, _p: Values) -> Values:
        found = [{"Key": "a", "VersionId": version} for version in self.versions]
        return {"Versions": found[:1], "DeleteMarkers": found[1:]} if found else {}

    def delete_objects(self, p: Values) -> Values:
        errors = []
        for item in p["Delete"]["Objects"]:
            if item["VersionId"] in self.locked:
                errors.append({**item, "Code": "AccessDenied", "Message": "it is locked"})
            else:
                self.versions.remove(item["VersionId"])
        return {"Errors": errors} if errors else {}

    def list_multipart_uploads(self, _p: Values) -> Values:
        return {"Uploads": [{"Key": "a", "UploadId": upload} for upload in self.uploads]}

    def abort_multipart_upload(self, p: Values) -> None:
        self.uploads.remove(p["UploadId"])

    def delete_bucket(self, _p: Values) -> None:
        if self.versions or self.uploads:
            raise RefusedError("BucketNotEmpty")
        self.state = {}


@pytest.mark.parametrize(
    ("current", "wanted", "result"),
    [
        ([], [], []),
        ([], [{"Sid": "b"}, {"Sid": "a"}], [{"Sid": "a"}, {"Sid": "b"}]),
        ([{"Sid": "a", "x": 1}], [{"Sid": "a", "x": 2}], [{"Sid": "a", "x": 2}]),
        ([{"Sid": "b"}], [{"Sid": "a"}], [{"Sid": "a"}, {"Sid": "b"}]),
        # AWS does not require a Sid.
        ([{"x": 1}], [{"Sid": "a"}], [{"x": 1}, {"Sid": "a"}]),
        ([{"x": 1}], [], [{"x": 1}]),
    ],
)
def test_merged(current: list[Values], wanted: list[Values], result: list[Values]) -> None:
    assert merged(current, wanted, "Sid") == result


@pytest.mark.parametrize(
    ("rule", "result"),
    [
        ({"ID": "a", "Filter": {"Prefix": "x/"}}, {"ID": "a", "Filter": {"Prefix": "x/"}}),
        ({"ID": "a", "Prefix": "x/"}, {"ID": "a", "Filter": {"Prefix": "x/"}}),
        ({"ID": "a", "Prefix": ""}, {"ID": "a", "Filter": {"Prefix": ""}}),
        ({"ID": "a", "Filter": {}}, {"ID": "a", "Filter": {"Prefix": ""}}),
        ({"ID": "a"}, {"ID": "a", "Filter": {"Prefix": ""}}),
        ({"ID": "a", "Filter": {"Tag": {"Key": "k"}}}, {"ID": "a", "Filter": {"Tag": {"Key": "k"}}}),
    ],
)
def test_with_filter(rule: Values, result: Values) -> None:
    given = deepcopy(rule)
    assert with_filter(rule) == result
    assert rule == given


@pytest.mark.parametrize(
    ("options", "current", "name", "value"),
    [
        ({}, {}, "encryption", {"algorithm": "AES256", "kms_key_arn": "", "bucket_key": False}),
        ({"kms_key_arn": KEY}, {}, "encryption", {"algorithm": "aws:kms", "kms_key_arn": KEY, "bucket_key": True}),
        ({}, {}, "access_log", {}),
        ({"access_log_prefix": "x/"}, {}, "access_log", {}),
        ({"access_log_bucket": "logs"}, {}, "access_log", {"bucket": "logs", "prefix": ""}),
        ({"tags": {"a": "1"}}, {"tags": {"a": "0", "b": "0"}}, "tags", {"a": "1", "b": "0"}),
        (
            {"policy_statements": [REFUSE_PLAIN]},
            {"policy": {"Version": "2008-10-17", "Id": "theirs", "Statement": [THEIR_STATEMENT]}},
            "policy",
            {"Version": "2008-10-17", "Id": "theirs", "Statement": [REFUSE_PLAIN, THEIR_STATEMENT]},
        ),
        (
            {"policy_statements": [REFUSE_PLAIN]},
            {},
            "policy",
            {"Version": "2012-10-17", "Statement": [REFUSE_PLAIN]},
        ),
        (
            {},
            {"policy": {"Id": "a", "Version": "b", "Statement": [THEIR_STATEMENT]}},
            "policy",
            {"Id": "a", "Version": "b", "Statement": [THEIR_STATEMENT]},
        ),
        (
            {"lifecycle_rules": [TIDY]},
            {"lifecycle": {"Rules": [THEIR_RULE]}},
            "lifecycle",
            {"Rules": [THEIR_RULE, TIDY]},
        ),
    ],
)
def test_wanted_settings(options: Values, current: Values, name: str, value: Any) -> None:
    assert wanted_settings({**UNSET, **options}, current)[name] == value


@pytest.mark.parametrize("options", [EVERYTHING, {**EVERYTHING, "object_lock": True}, {"name": "bucket"}])
def test_a_bucket_is_created_kept_and_deleted(options: Values) -> None:
    fake = FakeS3()
    assert_converges("s3_bucket", fake, **options)
    assert fake.state["versioning"] == "Enabled"
    assert_gone("s3_bucket", fake, name="bucket")


@pytest.mark.parametrize(
    ("name", "value", "changed"),
    [
        ("ownership", {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}, "object_ownership"),
        ("block", {"BlockPublicAcls": False}, "public_access_block"),
        ("versioning", "Suspended", "versioning"),
        ("encryption", {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}, "encryption"),
        ("policy", json.dumps({"Statement": [{**REFUSE_PLAIN, "Effect": "Allow"}]}), "policy"),
        ("policy", None, "policy"),
        ("rules", [{**TIDY, "Status": "Disabled"}], "lifecycle"),
        ("rules", None, "lifecycle"),
        ("logging", None, "access_log"),
        ("tags", [{"Key": "owner", "Value": "they"}], "tags"),
    ],
)
def test_drift_is_corrected(name: str, value: Any, changed: str) -> None:
    fake = FakeS3()
    done("s3_bucket", fake, **EVERYTHING)
    before = deepcopy(fake.state)
    fake.state[name] = value
    if value is None:
        del fake.state[name]
    result = assert_converges("s3_bucket", fake, **EVERYTHING)
    assert list(result["diff"]["after"]) == [changed]
    assert fake.state == before


def test_settings_of_others_stay() -> None:
    fake = FakeS3()
    done("s3_bucket", fake, name="bucket")
    fake.state["policy"] = json.dumps({"Version": "2012-10-17", "Statement": [THEIR_STATEMENT]})
    fake.state["rules"] = [THEIR_RULE]
    fake.state["tags"] = [{"Key": "theirs", "Value": "1"}]
    assert not done("s3_bucket", fake, name="bucket")["changed"]
    assert_converges("s3_bucket", fake, **EVERYTHING)
    assert json.loads(fake.state["policy"])["Statement"] == [REFUSE_PLAIN, THEIR_STATEMENT]
    assert fake.state["rules"] == [THEIR_RULE, TIDY]
    assert fake.state["tags"] == [{"Key": "theirs", "Value": "1"}, {"Key": "owner", "Value": "us"}]


OTHER_KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1e1e1e1e"
OUR_TAGS = {"managed-by": "ansible", "application": "export", "environment": "dev", "version": "2"}
RECOGNISING: Values = {
    "name": "bucket",
    "tags": OUR_TAGS,
    "managed_by_tag": "managed-by",
    "identity_tags": ["application", "environment"],
}
THEIR_LOG = {"LoggingEnabled": {"TargetBucket": "audit", "TargetPrefix": "s3/"}}


def tag_list(tags: Values) -> list[Values]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def encrypted(algorithm: str, key: str = "") -> Values:
    default = {"SSEAlgorithm": algorithm, **({"KMSMasterKeyID": key} if key else {})}
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": default}]}


def their_bucket(**state: Any) -> FakeS3:
    """An existing bucket with tags and these settings."""
    fake = FakeS3()
    done("s3_bucket", fake, name="bucket", tags={"cost-centre": "7", "environment": "dev", "managed-by": "terraform"})
    fake.state |= state
    return fake


@pytest.mark.parametrize(
    ("state", "keeping"),
    [
        ({"logging": THEIR_LOG}, {"access_log_bucket": "audit", "access_log_prefix": "s3/"}),
        ({"encryption": encrypted("aws:kms", OTHER_KEY)}, {"kms_key_arn": OTHER_KEY}),
        (
            {"logging": THEIR_LOG, "encryption": encrypted("aws:kms", OTHER_KEY)},
            {"access_log_bucket": "audit", "access_log_prefix": "s3/", "kms_key_arn": OTHER_KEY},
        ),
    ],
)
def test_an_owners_settings_are_never_removed_and_kept_if_the_options_name_them(state: Values, keeping: Values) -> None:
    fake = their_bucket(**state)
    before = deepcopy(fake.state)
    fake.writes()
    for check in (True, False):
        result = run("s3_bucket", fake, check=check, **RECOGNISING)
        assert result["msg"].startswith(
            "The bucket bucket belongs to its owner: it lacks the tags managed-by, application,"
        )
        said = ", ".join(f"{name}: {json.dumps(value)}" for name, value in keeping.items())
        assert f"set {said}." in result["msg"]
        assert (result["refused"], result["keeping"]) == ("the owner's settings", keeping)
    assert fake.writes() == []
    assert fake.state == before
    assert_converges("s3_bucket", fake, **RECOGNISING, **keeping)
    assert fake.state.get("logging") == state.get("logging")
    # From now on it belongs to this environment, and drift is corrected as for any other.
    fake.state["logging"] = {"LoggingEnabled": {"TargetBucket": "elsewhere", "TargetPrefix": ""}}
    result = assert_converges("s3_bucket", fake, **RECOGNISING, **keeping)
    assert list(result["diff"]["after"]) == ["access_log"]


@pytest.mark.parametrize(
    ("state", "options"),
    [
        ({}, {}),
        ({}, {"kms_key_arn": KEY, "access_log_bucket": "logs"}),
        ({"encryption": encrypted("aws:kms", "0f0f0f0f")}, {"kms_key_arn": KEY}),
        ({"encryption": encrypted("aws:kms", "alias/theirs")}, {"kms_key_arn": KEY}),
        ({"encryption": encrypted("aws:kms")}, {"kms_key_arn": KEY}),
        ({"tags": []}, {}),
        ({"tags": tag_list({"managed-by": "ansible"})}, {}),
    ],
)
def test_an_owners_bucket_that_loses_nothing_is_used(state: Values, options: Values) -> None:
    fake = their_bucket(**state)
    assert_converges("s3_bucket", fake, **RECOGNISING, **options)
    assert all(tag in fake.state["tags"] for tag in tag_list(OUR_TAGS))


@pytest.mark.parametrize(
    ("encryption", "hint"),
    [
        (encrypted("aws:kms", "1e1e1e1e"), 'kms_key_arn: "ARN of 1e1e1e1e"'),
        (encrypted("aws:kms"), 'kms_key_arn: "ARN of alias/aws/s3"'),
        (encrypted("aws:kms:dsse", KEY), 'name: "another bucket, since this one encrypts twice'),
    ],
)
def test_a_key_that_its_bucket_does_not_name_by_an_arn_is_kept_too(encryption: Values, hint: str) -> None:
    fake = their_bucket(encryption=encryption)
    assert hint in run("s3_bucket", fake, **RECOGNISING)["msg"]


@pytest.mark.parametrize(
    ("theirs", "found"),
    [
        ({"environment": "prod"}, 'environment: "prod", expected are environment: "dev"'),
        (
            {"application": "other", "environment": "prod"},
            'application: "other", environment: "prod", expected are application: "export", environment: "dev"',
        ),
    ],
)
def test_a_bucket_of_another_environment_is_refused(theirs: Values, found: str) -> None:
    fake = FakeS3()
    done("s3_bucket", fake, **{**RECOGNISING, "tags": {**OUR_TAGS, **theirs}})
    fake.writes()
    for check in (True, False):
        result = run("s3_bucket", fake, check=check, **RECOGNISING)
        assert f"belongs to another environment: its tags are {found}." in result["msg"]
        assert result["refused"] == "another environment"
    assert fake.writes() == []


@pytest.mark.parametrize("tags", [{"managed-by": "ansible"}, {"managed-by": "ansible", "application": "export"}])
def test_identifying_tags_must_be_among_the_wanted_tags(tags: Values) -> None:
    assert "environment, which tags lacks" in run("s3_bucket", FakeS3(), **{**RECOGNISING, "tags": tags})["msg"]


@pytest.mark.parametrize(
    ("current", "wanted", "same"),
    [
        (KEY, KEY, True),
        (KEY, OTHER_KEY, False),
        (KEY, "", False),
        ("0f0f0f0f", KEY, True),
        ("0f0f", KEY, False),
        (KEY.replace("eu-west-1", "us-west-2"), KEY, False),
        ("alias/k", KEY, True),
        (f"arn:aws:kms:eu-west-1:{ACCOUNT}:alias/k", KEY, True),
        ("alias/k", "", False),
        ("", KEY, True),
        ("", "", False),
    ],
)
def test_is_key(current: str, wanted: str, same: bool) -> None:
    assert is_key(current, wanted) is same


def test_rules_of_the_old_form_stay_with_ours() -> None:
    fake = FakeS3()
    done("s3_bucket", fake, name="bucket")
    fake.state["rules"] = [{"ID": "theirs", "Status": "Enabled", "Prefix": "old/", "Expiration": {"Days": 3}}]
    assert_converges("s3_bucket", fake, name="bucket", lifecycle_rules=[TIDY])
    assert fake.state["rules"] == [THEIR_RULE, TIDY]


@pytest.mark.parametrize(
    "statement",
    [
        {**REFUSE_PLAIN, "Principal": {"AWS": "*"}},
        {**REFUSE_PLAIN, "Action": ["s3:*"], "Resource": REFUSE_PLAIN["Resource"][::-1]},  # type: ignore[index]
    ],
)
def test_a_policy_in_another_spelling_is_the_same(statement: Values) -> None:
    fake = FakeS3()
    done("s3_bucket", fake, **EVERYTHING)
    for statements in ([statement], statement):
        fake.state["policy"] = json.dumps({"Version": "2012-10-17", "Statement": statements})
        assert not done("s3_bucket", fake, **EVERYTHING)["changed"]


def test_a_version_that_s3_does_not_delete_is_reported() -> None:
    fake = FakeS3()
    done("s3_bucket", fake, name="bucket")
    fake.versions = ["1", "2", "3"]
    fake.locked = ["2"]
    fake.uploads = ["u"]
    result = run("s3_bucket", fake, name="bucket", state="absent", force=True)
    assert "1 versions of objects in bucket were not deleted" in result["msg"]
    assert "a (2): AccessDenied: it is locked" in result["msg"]
    assert fake.state, "the bucket stays"
    assert (fake.versions, fake.uploads) == (["2"], [])
    fake.locked = []
    assert_gone("s3_bucket", fake, name="bucket", force=True)


def test_object_lock_is_enabled_with_a_new_bucket() -> None:
    fake = FakeS3()
    checked = done("s3_bucket", fake, check=True, name="bucket", object_lock=True)
    assert checked["settings"]["object_lock"] is True
    assert_converges("s3_bucket", fake, name="bucket", object_lock=True)
    assert fake.state["lock"] == {"ObjectLockEnabled": "Enabled"}
    assert not done("s3_bucket", fake, name="bucket")["changed"], "without the option it is left as it is"


def test_an_existing_bucket_without_object_lock_is_refused_before_it_is_changed() -> None:
    fake = their_bucket()
    before = deepcopy(fake.state)
    fake.writes()
    for check in (True, False):
        result = run("s3_bucket", fake, check=check, **RECOGNISING, object_lock=True)
        assert (result["refused"], result["keeping"]) == ("no Object Lock", {"object_lock": False})
        assert (
            "The bucket bucket was created without Object Lock, and object_lock is true. Nothing was changed."
            in (result["msg"])
        )
        assert "put-object-lock-configuration --bucket bucket" in result["msg"]
    assert (fake.writes(), fake.state) == ([], before)
    fake.state |= {"versioning": "Enabled", "lock": {"ObjectLockEnabled": "Enabled"}}
    assert_converges("s3_bucket", fake, **RECOGNISING, object_lock=True)


def test_without_the_option_object_lock_is_not_asked_for() -> None:
    """So only a deployer who wants it needs the permission."""
    fake = their_bucket()
    fake.refusals["get_object_lock_configuration"] = ("AccessDenied", 9)
    assert_converges("s3_bucket", fake, **RECOGNISING)


def test_only_force_empties_a_bucket() -> None:
    fake = FakeS3()
    done("s3_bucket", fake, name="bucket")
    fake.versions, fake.uploads = ["1", "2", "3"], ["u"]
    assert "BucketNotEmpty" in run("s3_bucket", fake, name="bucket", state="absent")["msg"]
    assert len(fake.versions) == 3
    assert_gone("s3_bucket", fake, name="bucket", force=True)
    assert (fake.versions, fake.uploads) == ([], [])


def test_a_bucket_with_an_operation_in_progress_is_awaited() -> None:
    fake = FakeS3()
    fake.refusals["create_bucket"] = ("OperationAborted", 2)
    assert done("s3_bucket", fake, name="bucket")["changed"]


def test_a_bucket_of_somebody_else_is_refused() -> None:
    fake = FakeS3()
    fake.refusals["head_bucket"] = ("403", 1)
    assert "belongs to another account" in run("s3_bucket", fake, name="bucket")["msg"]


def test_a_bucket_in_another_region_is_refused() -> None:
    fake = FakeS3()
    done("s3_bucket", fake, name="bucket")
    fake.region = "us-west-2"
    assert "is in us-west-2, but the deploy is for eu-west-1" in run("s3_bucket", fake, name="bucket")["msg"]


@pytest.mark.parametrize(
    "operation",
    [
        "put_bucket_versioning",
        "put_bucket_encryption",
        "put_bucket_policy",
        "put_bucket_lifecycle_configuration",
        "put_bucket_logging",
        "put_bucket_tagging",
        "get_bucket_versioning",
    ],
)
def test_a_bucket_that_parts_of_s3_do_not_find_yet_is_awaited(operation: str) -> None:
    """S3's control plane is eventually consistent: after CreateBucket a call may still be answered NoSuchBucket."""
    fake = FakeS3()
    fake.refusals[operation] = ("NoSuchBucket", 2)
    assert done("s3_bucket", fake, **EVERYTHING)["changed"]
    assert not done("s3_bucket", fake, **EVERYTHING)["changed"]


def test_a_bucket_that_was_deleted_meanwhile_is_not_awaited() -> None:
    fake = FakeS3()
    done("s3_bucket", fake, name="bucket")
    fake.refusals["put_bucket_tagging"] = ("NoSuchBucket", 1)
    assert "NoSuchBucket" in run("s3_bucket", fake, **EVERYTHING)["msg"]


def test_a_repeated_create_request_is_not_an_error() -> None:
    fake = FakeS3()
    answer = fake.answer

    def lose_the_first_answer(operation: str, params: Values) -> Values:
        found = answer(operation, params)
        if operation == "create_bucket":
            raise RefusedError("BucketAlreadyOwnedByYou")
        return found

    fake.answer = lose_the_first_answer  # type: ignore[method-assign]
    assert done("s3_bucket", fake, name="bucket")["changed"]
    assert fake.state["versioning"] == "Enabled"


SSE_C_BLOCKED = {"BlockedEncryptionTypes": {"EncryptionType": ["SSE-C"]}}
PARTITIONED = {"TargetObjectKeyFormat": {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}}


def test_what_shares_a_document_with_our_settings_is_restored() -> None:
    """S3 replaces whole documents, so parts that are not sent again are lost."""
    fake = FakeS3()
    done("s3_bucket", fake, name="bucket")
    fake.state |= {
        "encryption": {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, **SSE_C_BLOCKED}]},
        "policy": json.dumps({"Version": "2008-10-17", "Id": "theirs", "Statement": [THEIR_STATEMENT]}),
        "rules": [THEIR_RULE],
        "transitions": "varies_by_storage_class",
        "logging": {"LoggingEnabled": {"TargetBucket": "old", "TargetPrefix": "", **PARTITIONED}},
    }
    result = assert_converges("s3_bucket", fake, **EVERYTHING)
    (rule,) = fake.state["encryption"]["Rules"]
    assert rule["BlockedEncryptionTypes"] == SSE_C_BLOCKED["BlockedEncryptionTypes"]
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == KEY
    policy = json.loads(fake.state["policy"])
    assert (policy["Version"], policy["Id"]) == ("2008-10-17", "theirs")
    assert policy["Statement"] == [REFUSE_PLAIN, THEIR_STATEMENT]
    assert fake.state["transitions"] == "varies_by_storage_class"
    assert fake.state["logging"]["LoggingEnabled"] == {"TargetBucket": "logs", "TargetPrefix": "labels/", **PARTITIONED}
    assert result["diff"]["after"]["lifecycle"]["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
    assert result["settings"]["encryption"]["BlockedEncryptionTypes"] == SSE_C_BLOCKED["BlockedEncryptionTypes"]


READER = {"Sid": "LabelReadersGet1", "Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "s3:GetObject"}
FORMER_READER = {**READER, "Sid": "LabelReadersGet2"}


def test_statements_of_readers_that_are_no_longer_wanted_are_removed_and_those_of_others_stay() -> None:
    fake = FakeS3()
    options = {**EVERYTHING, "purged_sid_prefix": "LabelReaders"}
    done("s3_bucket", fake, **{**options, "policy_statements": [REFUSE_PLAIN, READER, FORMER_READER, THEIR_STATEMENT]})
    assert_converges("s3_bucket", fake, **{**options, "policy_statements": [REFUSE_PLAIN, READER]})
    sids = [statement["Sid"] for statement in json.loads(fake.state["policy"])["Statement"]]
    assert sids == ["LabelReadersGet1", "RefusePlainHttp", "Theirs"]


PUBLIC = {"Sid": "Website", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"}
TO_EVERYONE = {
    "Grantee": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"},
    "Permission": "READ",
}
TO_ANOTHER = {"Grantee": {"Type": "CanonicalUser", "ID": "another", "DisplayName": "partner"}, "Permission": "WRITE"}
OBJECT_WRITER = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}


@pytest.mark.parametrize(
    ("state", "refused", "named"),
    [
        ({"policy": json.dumps({"Statement": [PUBLIC]}), "block": {}}, "a public policy", "(Website)"),
        ({"ownership": OBJECT_WRITER, "grants": [TO_EVERYONE]}, "an ACL", "READ to http://acs.amazonaws.com/groups"),
        ({"ownership": OBJECT_WRITER, "grants": [TO_ANOTHER]}, "an ACL", "WRITE to partner"),
    ],
)
@pytest.mark.parametrize("options", [RECOGNISING, {"name": "bucket"}])
def test_a_bucket_that_s3_would_change_only_in_part_is_refused_before_it_is_changed(
    state: Values, refused: str, named: str, options: Values
) -> None:
    fake = their_bucket(**state)
    before = deepcopy(fake.state)
    for check in (True, False):
        result = run("s3_bucket", fake, check=check, **options, policy_statements=[REFUSE_PLAIN])
        assert result["refused"] == refused
        assert named in result["msg"]
        assert "Nothing was changed." in result["msg"]
    assert fake.state == before


def test_an_acl_that_grants_nothing_to_others_is_accepted() -> None:
    fake = their_bucket(ownership=OBJECT_WRITER)
    assert_converges("s3_bucket", fake, **RECOGNISING)


def test_our_own_bucket_that_was_made_public_is_closed_first() -> None:
    fake = FakeS3()
    done("s3_bucket", fake, **RECOGNISING, policy_statements=[REFUSE_PLAIN])
    fake.state |= {"policy": json.dumps({"Statement": [PUBLIC]}), "block": {}}
    result = run("s3_bucket", fake, **RECOGNISING, policy_statements=[REFUSE_PLAIN])
    assert "Public access is blocked again; nothing else was changed." in result["msg"]
    assert all(fake.state["block"].values())


def test_a_bucket_that_another_account_created_first_is_refused_and_left_alone() -> None:
    """Its policy may allow these credentials everything."""
    fake = FakeS3()
    assert done("s3_bucket", fake, name="bucket", expected_owner=ACCOUNT)["changed"]
    named = {operation for operation, params in fake.calls if "ExpectedBucketOwner" in params}
    assert {operation for operation, _params in fake.calls} - named == {"create_bucket"}

    fake.owner = "999999999999"
    fake.calls.clear()
    said = run("s3_bucket", fake, name="bucket", expected_owner=ACCOUNT, tags={"team": "vision"})["msg"]
    assert f"it belongs to another account than {ACCOUNT}" in said
    assert fake.calls == []


def test_a_bucket_to_which_objects_are_still_written_is_emptied_again() -> None:
    class StillWritten(FakeS3):
        later = 2

        def delete_bucket(self, p: Values) -> None:
            if self.later:
                self.later -= 1
                self.versions.append(f"later {self.later}")
            super().delete_bucket(p)

    fake = StillWritten()
    done("s3_bucket", fake, name="bucket")
    fake.versions = ["1"]
    assert done("s3_bucket", fake, name="bucket", state="absent", force=True)["changed"]
    assert fake.state == {}


THEIR_NOTIFICATION = {
    "QueueConfigurations": [
        {"Id": "theirs", "QueueArn": f"arn:aws:sqs:eu-west-1:{ACCOUNT}:theirs", "Events": ["s3:ObjectCreated:*"]}
    ]
}


def test_events_go_to_eventbridge_and_other_notifications_stay() -> None:
    fake = FakeS3()
    done("s3_bucket", fake, name="bucket")
    assert "notifications" not in fake.state
    fake.state["notifications"] = dict(THEIR_NOTIFICATION)
    assert_converges("s3_bucket", fake, name="bucket", event_bridge=True)
    assert fake.state["notifications"] == {**THEIR_NOTIFICATION, "EventBridgeConfiguration": {}}
    assert not done("s3_bucket", fake, name="bucket")["changed"]  # an owner's choice is left alone
    assert fake.state["notifications"] == {**THEIR_NOTIFICATION, "EventBridgeConfiguration": {}}
