"""The image repository, and the facts about its images."""

from __future__ import annotations

import base64
import json
from copy import deepcopy
from typing import Any

import pytest
from fake_aws import ACCOUNT, Fake, RefusedError, Values, assert_converges, assert_gone, done, run

KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/0f0f0f0f"
ARN = f"arn:aws:ecr:eu-west-1:{ACCOUNT}:repository/images"
LIFECYCLE = {
    "rules": [
        {
            "rulePriority": 1,
            "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 10},
            "action": {"type": "expire"},
        }
    ]
}
EVERYTHING: Values = {
    "name": "images",
    "kms_key_arn": KEY,
    "lifecycle_policy": LIFECYCLE,
    "tags": {"owner": "us"},
}


class FakeEcr(Fake):
    """ECR with one repository."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[str] = []
        self.lookup: Values = {}

    def repository(self) -> Values:
        if not self.state:
            raise RefusedError("RepositoryNotFoundException")
        found: Values = self.state
        return found

    def describe_repositories(self, _p: Values) -> Values:
        return {"repositories": [self.repository()["repository"]]}

    def create_repository(self, p: Values) -> Values:
        repository = {"repositoryArn": ARN, "encryptionConfiguration": {"encryptionType": "AES256"}, **p}
        self.state = {"tags": {t["Key"]: t["Value"] for t in repository.pop("tags")}, "repository": repository}
        return {"repository": repository}

    def delete_repository(self, p: Values) -> None:
        if self.images and not p["force"]:
            raise RefusedError("RepositoryNotEmptyException")
        self.state = {}

    def put_image_tag_mutability(self, p: Values) -> None:
        self.repository()["repository"]["imageTagMutability"] = p["imageTagMutability"]

    def put_image_scanning_configuration(self, p: Values) -> None:
        self.repository()["repository"]["imageScanningConfiguration"] = p["imageScanningConfiguration"]

    def get_lifecycle_policy(self, _p: Values) -> Values:
        if "lifecycle" not in self.repository():
            raise RefusedError("LifecyclePolicyNotFoundException")
        return {"lifecyclePolicyText": self.state["lifecycle"]}

    def put_lifecycle_policy(self, p: Values) -> None:
        self.repository()["lifecycle"] = p["lifecyclePolicyText"]

    def delete_lifecycle_policy(self, p: Values) -> None:
        self.get_lifecycle_policy(p)
        del self.state["lifecycle"]

    def get_repository_policy(self, _p: Values) -> Values:
        if "policy" not in self.repository():
            raise RefusedError("RepositoryPolicyNotFoundException")
        return {"policyText": self.state["policy"]}

    def set_repository_policy(self, p: Values) -> None:
        self.repository()["policy"] = p["policyText"]

    def list_tags_for_resource(self, _p: Values) -> Values:
        return {"tags": [{"Key": key, "Value": value} for key, value in self.repository()["tags"].items()]}

    def tag_resource(self, p: Values) -> None:
        self.repository()["tags"].update({t["Key"]: t["Value"] for t in p["tags"]})

    def untag_resource(self, p: Values) -> None:
        for key in p["tagKeys"]:
            del self.repository()["tags"][key]

    def batch_get_image(self, _p: Values) -> Values:
        if not self.lookup:
            raise RefusedError("RepositoryNotFoundException")
        return {"images": [], "failures": [], **self.lookup}

    def get_authorization_token(self, _p: Values) -> Values:
        return {"authorizationData": [{"authorizationToken": base64.b64encode(b"AWS:the:password").decode()}]}


@pytest.mark.parametrize(
    "options",
    [
        EVERYTHING,
        {"name": "images"},
        {"name": "images", "image_tag_mutability": "MUTABLE", "scan_on_push": False, "tags": {}},
        # An empty policy is the same as none, also if there never was one.
        {"name": "images", "lifecycle_policy": {}},
        {"name": "images", "lifecycle_policy": ""},
    ],
)
def test_a_repository_is_created_kept_and_deleted(options: Values) -> None:
    fake = FakeEcr()
    result = assert_converges("ecr_repository", fake, **options)
    again = done("ecr_repository", fake, **options)
    assert {**again["settings"], **result["settings"]} == again["settings"]
    assert_gone("ecr_repository", fake, name="images")
    assert fake.state == {}


def drift(repository: Values | None = None, **rest: Any) -> tuple[Values, Values]:
    return repository or {}, rest


@pytest.mark.parametrize(
    ("repository", "rest", "changed"),
    [
        (*drift({"imageTagMutability": "MUTABLE"}), "image_tag_mutability"),
        (*drift({"imageTagMutability": "IMMUTABLE_WITH_EXCLUSION"}), "image_tag_mutability"),
        (*drift({"imageScanningConfiguration": {"scanOnPush": False}}), "scan_on_push"),
        (*drift(lifecycle='{"rules": []}'), "lifecycle_policy"),
        (*drift(tags={"owner": "they", "more": "1"}), "tags"),
    ],
)
def test_drift_is_corrected(repository: Values, rest: Values, changed: str) -> None:
    fake = FakeEcr()
    done("ecr_repository", fake, **EVERYTHING)
    before = deepcopy(fake.state)
    fake.state["repository"].update(repository)
    fake.state.update(rest)
    result = assert_converges("ecr_repository", fake, **EVERYTHING)
    assert list(result["diff"]["after"]) == [changed]
    assert fake.state == before


def test_a_lifecycle_policy_is_removed_or_kept() -> None:
    fake = FakeEcr()
    done("ecr_repository", fake, name="images", lifecycle_policy=LIFECYCLE)
    assert not done("ecr_repository", fake, name="images")["changed"]
    fake.state["lifecycle"] = json.dumps(LIFECYCLE, indent=1)
    assert not done("ecr_repository", fake, name="images", lifecycle_policy=LIFECYCLE)["changed"]
    assert_converges("ecr_repository", fake, name="images", lifecycle_policy={})
    assert "lifecycle" not in fake.state


def test_tags_of_aws_are_not_a_difference() -> None:
    fake = FakeEcr()
    done("ecr_repository", fake, **EVERYTHING)
    fake.state["tags"]["aws:cloudformation:stack-name"] = "s"
    assert not done("ecr_repository", fake, **EVERYTHING)["changed"]


def test_unmanaged_tags_are_returned_unchanged() -> None:
    fake = FakeEcr()
    done("ecr_repository", fake, name="images", tags={"a": "1"})
    assert done("ecr_repository", fake, name="images")["settings"]["tags"] == {"a": "1"}


def test_another_key_is_refused() -> None:
    fake = FakeEcr()
    done("ecr_repository", fake, **EVERYTHING)
    result = run("ecr_repository", fake, name="images")
    assert result["msg"].startswith(f"The repository images is encrypted with {KEY}, but it should be AES-256.")


def test_only_force_deletes_images() -> None:
    fake = FakeEcr()
    done("ecr_repository", fake, name="images")
    fake.images = ["a"]
    assert "RepositoryNotEmptyException" in run("ecr_repository", fake, name="images", state="absent")["msg"]
    assert_gone("ecr_repository", fake, name="images", force=True)


LAYERS = {"layers": [{"mediaType": "b"}, {"mediaType": "a"}, {"mediaType": "b"}]}
IMAGE = {
    "imageId": {"imageDigest": "sha256:1", "imageTag": "t"},
    "imageManifestMediaType": "application/x",
    "imageManifest": json.dumps(LAYERS),
}


@pytest.mark.parametrize(
    ("lookup", "found", "digest", "media_type", "layers"),
    [
        ({}, False, "", "", []),
        ({"failures": [{"failureCode": "ImageNotFound"}]}, False, "", "", []),
        ({"images": [IMAGE]}, True, "sha256:1", "application/x", ["a", "b"]),
    ],
)
def test_an_image_is_looked_up(lookup: Values, found: bool, digest: str, media_type: str, layers: list[str]) -> None:
    fake = FakeEcr()
    fake.lookup = lookup
    result = done("ecr_image_info", fake, repository="images", tag="t")
    assert (result["found"], result["digest"], result["media_type"]) == (found, digest, media_type)
    assert result["layer_media_types"] == layers
    assert not result["changed"]


def test_an_unreadable_image_does_not_count_as_missing() -> None:
    fake = FakeEcr()
    fake.lookup = {"failures": [{"failureCode": "KmsError", "failureReason": "The key is disabled"}]}
    result = run("ecr_image_info", fake, repository="images", tag="t")
    assert result["msg"] == "The image images:t could not be looked up: KmsError: The key is disabled"


def test_a_login_is_decoded_from_the_token() -> None:
    result = done("ecr_login_info", FakeEcr())
    assert (result["username"], result["password"], result["changed"]) == ("AWS", "the:password", False)


LET_LAMBDA_PULL: Values = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "LambdaPulls",
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            "Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:function"}},
        }
    ],
}


def test_the_policy_is_set_kept_and_restored() -> None:
    fake = FakeEcr()
    given = {"name": "images", "policy": LET_LAMBDA_PULL}
    assert_converges("ecr_repository", fake, **given)
    before = json.loads(fake.state["policy"])
    assert before == LET_LAMBDA_PULL
    (statement,) = before["Statement"]
    for drift in ({**statement, "Principal": "*"}, {**statement, "Condition": {}}):
        fake.state["policy"] = json.dumps({**before, "Statement": [drift]})
        result = assert_converges("ecr_repository", fake, **given)
        assert list(result["diff"]["after"]) == ["policy"]
        assert json.loads(fake.state["policy"]) == before
    del fake.state["policy"]
    assert_converges("ecr_repository", fake, **given)


def test_another_spelling_of_the_policy_is_not_drift() -> None:
    fake = FakeEcr()
    given = {"name": "images", "policy": LET_LAMBDA_PULL}
    done("ecr_repository", fake, **given)
    (statement,) = LET_LAMBDA_PULL["Statement"]
    spelt = {**statement, "Action": statement["Action"][::-1], "Principal": {"Service": ["lambda.amazonaws.com"]}}
    fake.state["policy"] = json.dumps({"Version": "2012-10-17", "Statement": spelt}, indent=2)
    assert not done("ecr_repository", fake, **given)["changed"]


def test_a_policy_that_is_not_managed_is_not_even_read() -> None:
    fake = FakeEcr()
    done("ecr_repository", fake, name="images")
    fake.state["policy"] = "{}"
    fake.refusals["get_repository_policy"] = ("AccessDeniedException", 1)
    assert not done("ecr_repository", fake, name="images")["changed"]
