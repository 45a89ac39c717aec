"""Which versions and images are removed, and that none is removed which is still in use."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.label_export.aws.plugins.modules.lambda_retired_versions import (
    reference,
    retired_images,
    retired_versions,
)
from fake_aws import Fake, RefusedError, Values, assert_converges, done, run
from hypothesis import given
from hypothesis import strategies as st

OPTIONS: Values = {"function_name": "function", "kept_versions": 2, "repository": "images", "kept_images": 2}


def digest(number: int) -> str:
    return f"sha256:{number:064d}"


class FakeLambdaAndEcr(Fake):
    """A function with versions, each with one image of a repository; two on a page."""

    def __init__(self, images_of: dict[str, int], aliases: list[Values], pushed: list[int]) -> None:
        super().__init__()
        self.images_of = images_of
        self.aliases = aliases
        self.pushed = pushed
        self.variables: dict[str, dict[str, str]] = {}
        self.failures: list[Values] = []

    def list_versions_by_function(self, p: Values) -> Values:
        start = int(p.get("Marker", "0"))
        found = [
            {"Version": version, "Environment": {"Variables": self.variables.get(version, {})}}
            for version in self.images_of
        ]
        return {"Versions": found[start : start + 2], **({"NextMarker": str(start + 2)} if found[start + 2 :] else {})}

    def list_aliases(self, _p: Values) -> Values:
        return {"Aliases": self.aliases}

    def get_function(self, p: Values) -> Values:
        return {"Code": {"ImageUri": f"registry/images@{digest(self.images_of[p['Qualifier']])}"}}

    def delete_function(self, p: Values) -> None:
        named = {alias["FunctionVersion"] for alias in self.aliases}
        assert p["Qualifier"] not in named, "AWS refuses it"
        del self.images_of[p["Qualifier"]]

    def describe_images(self, p: Values) -> Values:
        start = int(p.get("nextToken", "0"))
        found = [
            {"imageDigest": digest(number), "imageTags": [f"t{number}"], "imagePushedAt": position}
            for position, number in enumerate(self.pushed)
        ]
        return {
            "imageDetails": found[start : start + 2],
            **({"nextToken": str(start + 2)} if found[start + 2 :] else {}),
        }

    def batch_delete_image(self, p: Values) -> Values:
        assert len(p["imageIds"]) <= 100, "AWS refuses more"
        if not self.failures:
            gone = {image["imageDigest"] for image in p["imageIds"]}
            self.pushed = [number for number in self.pushed if digest(number) not in gone]
        return {"failures": self.failures}


def alias(version: str, **routing: float) -> Values:
    weights = {key.removeprefix("v"): value for key, value in routing.items()}
    return {"Name": "live", "FunctionVersion": version, "RoutingConfig": {"AdditionalVersionWeights": weights}}


def test_old_versions_and_the_images_that_only_they_ran_are_removed() -> None:
    fake = FakeLambdaAndEcr({"$LATEST": 4, "1": 1, "2": 2, "3": 3, "4": 4}, [alias("4")], [1, 2, 3, 4])
    result = assert_converges("lambda_retired_versions", fake, **OPTIONS)
    assert (result["versions"], result["images"]) == (["1", "2"], [digest(2), digest(1)])
    assert (list(fake.images_of), fake.pushed) == (["$LATEST", "3", "4"], [3, 4])


UPGRADE: Values = {
    **OPTIONS,
    "new_image_uri": "registry/images:t4",
    "new_version": "4",
    "alias": "live",
}


def test_a_check_before_an_upgrade_announces_what_the_upgrade_then_removes() -> None:
    """The new version, its image and the alias's target are given: none of them exists yet."""
    before = FakeLambdaAndEcr({"$LATEST": 3, "1": 1, "2": 2, "3": 3}, [alias("3")], [1, 2, 3])
    check = done("lambda_retired_versions", before, check=True, **UPGRADE)
    assert before.writes() == []
    after = FakeLambdaAndEcr({"$LATEST": 4, "1": 1, "2": 2, "3": 3, "4": 4}, [alias("4")], [1, 2, 3, 4])
    run = done("lambda_retired_versions", after, **{**UPGRADE, "new_image_uri": f"registry/images@{digest(4)}"})
    assert (check["versions"], check["images"]) == (["1", "2"], [digest(2), digest(1)])
    for result in (check, run):
        result.pop("invocation", None)  # Since ansible-core 2.21, it is only there with INJECT_INVOCATION.
    assert check == run


def test_a_version_that_the_alias_leaves_is_no_longer_kept_for_it() -> None:
    for before in (alias("1"), alias("3", v1=0.1)):
        fake = FakeLambdaAndEcr({"$LATEST": 3, "1": 1, "2": 2, "3": 3}, [before], [1, 2, 3])
        assert done("lambda_retired_versions", fake, check=True, **UPGRADE)["versions"] == ["1", "2"]


def test_a_changed_setting_gives_a_version_and_no_image() -> None:
    fake = FakeLambdaAndEcr({"$LATEST": 3, "1": 1, "2": 2, "3": 3}, [alias("3")], [1, 2, 3])
    again = {**UPGRADE, "new_image_uri": f"registry/images@{digest(3)}", "kept_images": 1}
    result = done("lambda_retired_versions", fake, check=True, **again)
    assert (result["versions"], result["images"]) == (["1", "2"], [digest(2), digest(1)])


def test_an_image_that_will_be_used_again_stays() -> None:
    fake = FakeLambdaAndEcr({"$LATEST": 3, "1": 1, "2": 2, "3": 3}, [alias("3")], [1, 2, 3])
    again = {**UPGRADE, "new_image_uri": f"registry/images@{digest(1)}", "kept_images": 1}
    result = done("lambda_retired_versions", fake, check=True, **again)
    assert (result["versions"], result["images"]) == (["1", "2"], [digest(2)])


def test_an_image_alone_may_be_new() -> None:
    """Only the image's role and this one run: the function does not change."""
    fake = FakeLambdaAndEcr({"$LATEST": 1, "3": 3}, [alias("3")], [1, 2, 3])
    result = done("lambda_retired_versions", fake, check=True, **OPTIONS, new_image_uri="registry/images:t4")
    assert (result["versions"], result["images"]) == ([], [digest(2)])


def test_what_was_created_before_counts_once() -> None:
    fake = FakeLambdaAndEcr({"$LATEST": 4, "3": 3, "4": 4}, [alias("4")], [3, 4])
    assert not done("lambda_retired_versions", fake, **UPGRADE)["changed"]


def test_content_that_went_back_to_an_old_image_keeps_it() -> None:
    """Version 4 runs the image that was pushed first: a mere count would expire it."""
    fake = FakeLambdaAndEcr({"$LATEST": 1, "1": 1, "2": 2, "3": 3, "4": 1}, [alias("4")], [1, 2, 3])
    assert_converges("lambda_retired_versions", fake, **{**OPTIONS, "kept_images": 1})
    assert fake.pushed == [1, 3]


SOURCE = "LABEL_EXPORT_PRIVATE_KEY_SOURCE"
NO_KEY: Values = {
    **OPTIONS,
    "kept_versions": 9,
    "kept_images": 9,
    "retired_environment": {SOURCE: ["environment", "file"]},
}


def with_sources(images_of: dict[str, int], aliases: list[Values], sources: dict[str, str]) -> FakeLambdaAndEcr:
    """A function with some versions whose key did not come from the default source."""
    fake = FakeLambdaAndEcr(images_of, aliases, sorted(set(images_of.values())))
    fake.variables = {version: {SOURCE: source} for version, source in sources.items()}
    return fake


def test_versions_that_hold_the_key_go_however_new_and_their_images_with_them() -> None:
    sources = {"1": "secretsmanager", "2": "file", "3": "environment", "4": "secretsmanager", "$LATEST": "file"}
    fake = with_sources({"$LATEST": 4, "1": 1, "2": 2, "3": 1, "4": 4}, [alias("4")], sources)
    result = assert_converges("lambda_retired_versions", fake, **NO_KEY)
    assert (result["by_environment"], result["left_by_environment"]) == (["2", "3"], [])
    assert (list(fake.images_of), fake.pushed) == (["$LATEST", "1", "4"], [1, 4])


def test_a_version_that_holds_the_key_and_that_an_alias_names_stays_and_is_reported() -> None:
    fake = with_sources({"$LATEST": 3, "1": 1, "2": 2, "3": 3}, [alias("1")], {"1": "file", "2": "file"})
    result = done("lambda_retired_versions", fake, **NO_KEY)
    assert (result["by_environment"], result["left_by_environment"]) == (["2"], ["1"])
    assert fake.pushed == [1, 3]


def test_a_check_before_the_key_leaves_the_image_announces_what_goes() -> None:
    """The live version has the key, and the alias will leave it for the new one."""
    fake = with_sources({"$LATEST": 1, "1": 1}, [alias("1")], {"1": "file", "$LATEST": "file"})
    wanted = {**NO_KEY, "new_image_uri": "registry/images:t2", "new_version": "2", "alias": "live"}
    result = done("lambda_retired_versions", fake, check=True, **wanted)
    assert (result["by_environment"], result["images"]) == (["1"], [digest(1)])


def test_a_version_that_an_alias_names_stays_with_its_image() -> None:
    fake = FakeLambdaAndEcr(
        {"$LATEST": 5, "1": 1, "2": 2, "3": 3, "4": 4, "5": 5}, [alias("1", v2=0.1)], [1, 2, 3, 4, 5]
    )
    result = assert_converges("lambda_retired_versions", fake, **OPTIONS)
    assert result["versions"] == ["3"]
    assert fake.pushed == [1, 2, 4, 5]


def test_what_the_unpublished_version_runs_stays() -> None:
    fake = FakeLambdaAndEcr({"$LATEST": 1, "2": 2, "3": 3}, [alias("3")], [1, 2, 3])
    assert not done("lambda_retired_versions", fake, **OPTIONS)["changed"]


def test_nothing_changes_if_everything_is_kept() -> None:
    fake = FakeLambdaAndEcr({"$LATEST": 2, "1": 1, "2": 2}, [alias("2")], [1, 2])
    assert not done("lambda_retired_versions", fake, **OPTIONS)["changed"]


def test_more_images_than_one_call_takes_are_removed() -> None:
    fake = FakeLambdaAndEcr({"$LATEST": 150, "3": 150}, [alias("3")], list(range(1, 151)))
    done("lambda_retired_versions", fake, **OPTIONS)
    assert fake.pushed == [149, 150]


def test_an_image_that_somebody_else_removed_meanwhile_is_no_failure() -> None:
    fake = FakeLambdaAndEcr({"$LATEST": 3, "3": 3}, [alias("3")], [1, 2, 3])
    fake.failures = [{"imageId": {"imageDigest": digest(1)}, "failureCode": "ImageNotFound", "failureReason": "gone"}]
    assert done("lambda_retired_versions", fake, **OPTIONS)["images"] == [digest(1)]


def test_an_image_whose_tag_was_resolved_by_lambda_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeLambdaAndEcr({"$LATEST": 3, "3": 3}, [alias("3")], [1, 2, 3])
    code = {"ImageUri": "registry/images:tag", "ResolvedImageUri": f"registry/images@{digest(1)}"}
    monkeypatch.setattr(fake, "get_function", lambda _p: {"Code": code})
    assert not done("lambda_retired_versions", fake, **OPTIONS)["changed"]


def test_an_image_that_ecr_keeps_is_reported() -> None:
    fake = FakeLambdaAndEcr({"$LATEST": 3, "3": 3}, [alias("3")], [1, 2, 3])
    fake.failures = [
        {"imageId": {"imageDigest": digest(1)}, "failureCode": "ImageReferencedByManifestList", "failureReason": "why"}
    ]
    result = run("lambda_retired_versions", fake, **OPTIONS)
    assert result["msg"] == f"Old versions of function could not be removed: {digest(1)}: why"


@pytest.mark.parametrize("missing", ["list_versions_by_function", "describe_images"])
def test_nothing_changes_without_function_or_repository(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeLambdaAndEcr({}, [], [])
    code = "RepositoryNotFoundException" if missing == "describe_images" else "ResourceNotFoundException"

    def refuse(_p: Values) -> None:
        raise RefusedError(code)

    monkeypatch.setattr(fake, missing, refuse)
    assert not done("lambda_retired_versions", fake, **OPTIONS)["changed"]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [("r:4566/i@sha256:ab", "sha256:ab"), ("r/i:tag", "tag"), ("r:4566/i:tag", "tag")],
)
def test_reference(uri: str, expected: str) -> None:
    assert reference(uri) == expected


def test_an_image_that_a_version_names_by_its_tag_stays() -> None:
    images: list[dict[str, Any]] = [
        {"imageDigest": digest(number), "imageTags": [f"tag-{number}"], "imagePushedAt": number} for number in (1, 2, 3)
    ]
    assert [image["imageDigest"] for image in retired_images(images, {"tag-1"}, 1)] == [digest(2)]


numbers = st.integers(1, 12)


@given(versions=st.sets(numbers), named=st.sets(numbers), kept=st.integers(1, 5))
def test_a_new_or_named_version_is_never_removed(versions: set[int], named: set[int], kept: int) -> None:
    gone = {int(v) for v in retired_versions([str(v) for v in versions] + ["$LATEST"], {str(n) for n in named}, kept)}
    newest = set(sorted(versions)[-kept:])
    assert gone == versions - named - newest


@given(pushed=st.lists(numbers, unique=True), used=st.sets(numbers), kept=st.integers(1, 5))
def test_a_new_or_used_image_is_never_removed(pushed: list[int], used: set[int], kept: int) -> None:
    images: list[dict[str, Any]] = [{"imageDigest": digest(n), "imagePushedAt": at} for at, n in enumerate(pushed)]
    gone = {image["imageDigest"] for image in retired_images(images, {digest(n) for n in used}, kept)}
    assert gone == {digest(n) for n in set(pushed) - used - set(pushed[-kept:])}
