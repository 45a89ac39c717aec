"""The handler is changed and restored while webhooks arrive, in one run each; every acknowledged label is saved."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from deployed_environment import NAME, Deployment, another_handler, statuses, webhook_to
from disturbances import ALIAS, FUNCTION
from local_stack import LocalStack
from playbook_runs import Run, recorded
from surplus_versions import digest_of, publish_more_versions, push_more_images, surplus_images

IMAGE = "handler_image : Image | Ensure the registry has the image"
# The catalog shares the exporter's core, so its image changes too.
CATALOG = "catalog_function : Present | Ensure the catalog function runs the image"
CATALOG_ALIAS = "catalog_function : Present | Ensure the alias points to the catalog's newest version"
RETIRED = "retired_versions : Remove old versions, and images that no kept version needs"
# So few that the upgrade must remove something: one of four versions, and one of two images that nothing runs.
KEPT_VERSIONS, KEPT_IMAGES, SURPLUS_IMAGES = 3, 2, 2
OLDEST = "1"
BETWEEN_WEBHOOKS_SECONDS = 0.5
ACCEPTED = 202


@dataclass
class Traffic:
    """A person who completes tasks without a break; every acknowledged one must be saved."""

    stack: LocalStack
    url: str
    rows: list[dict[str, Any]]
    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    sent: int = 0
    refused: list[Any] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> None:
        while not self.stop.wait(BETWEEN_WEBHOOKS_SECONDS):
            row = self.rows[self.sent % len(self.rows)]
            task = self.stack.encord_json("POST", "complete-task", {"label_hash": row["label_hash"]})
            (status,) = statuses(task, self.url)
            self.sent += 1
            if status == ACCEPTED:
                self.acknowledged[task["label_hash"]] = task
            else:
                self.refused.append(status)


@contextmanager
def under_traffic(stack: LocalStack, deployment: Deployment, project: dict[str, Any]) -> Iterator[Traffic]:
    """Complete tasks of a project all the time."""
    rows = [row for row in project["label_rows"] if row["label_hash"] and row["data_type"] != "DELETED"]
    traffic = Traffic(stack, deployment.webhook_url, rows)
    sender = threading.Thread(target=traffic)
    with webhook_to(stack, deployment.webhook_url, project["project_hash"]):
        sender.start()
        try:
            yield traffic
        finally:
            traffic.stop.set()
            sender.join()


def assert_all_saved(traffic: Traffic, deployment: Deployment) -> None:
    assert traffic.sent > 0
    assert traffic.refused == []
    for task in traffic.acknowledged.values():
        body, _metadata = deployment.saved(task["project_hash"], task["label_hash"], task["last_edited_at"])
        assert body == traffic.stack.encord("GET", f"label-rows/{task['label_hash']}")


@dataclass
class Rollback:
    run: Run
    after: dict[str, Any]
    traffic: Traffic


@dataclass
class Upgrade:
    before: dict[str, Any]
    check: Run
    run: Run
    after: dict[str, Any]
    traffic: Traffic


def described(deployment: Deployment) -> dict[str, Any]:
    """Return what is deployed: the alias's version, its image, and all versions with their images."""
    functions = deployment.functions
    numbers = [item["Version"] for item in functions.list_versions_by_function(FunctionName=NAME)["Versions"]]
    images = {
        number: functions.get_function(FunctionName=NAME, Qualifier=number)["Code"]["ImageUri"]
        for number in numbers
        if number != "$LATEST"
    }
    return {"alias": functions.get_alias(FunctionName=NAME, Name="live")["FunctionVersion"], "images": images}


@pytest.fixture(scope="module")
def upgrade(
    stack: LocalStack, deployment: Deployment, project: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Upgrade:
    changed = (
        *("-e", f"handler_image_source={another_handler(tmp_path_factory.mktemp('handler'))}"),
        *("-e", f"retired_versions_kept={KEPT_VERSIONS}"),
        *("-e", f"image_repository_kept_images={KEPT_IMAGES}"),
    )
    push_more_images(stack.aws("ecr"), digest_of(deployment.functions, "live"), SURPLUS_IMAGES)
    publish_more_versions(deployment.functions, KEPT_VERSIONS - 2)
    deployment.functions.update_alias(FunctionName=NAME, Name="live", FunctionVersion=str(KEPT_VERSIONS))
    before = described(deployment)
    check = recorded("deploy", "--check", "--diff", *changed)
    assert described(deployment) == before, "a check changes nothing"
    with under_traffic(stack, deployment, project) as traffic:
        run = recorded("deploy", *changed)
    return Upgrade(before, check, run, described(deployment), traffic)


@pytest.fixture(scope="module")
def rollback(upgrade: Upgrade, stack: LocalStack, deployment: Deployment, project: dict[str, Any]) -> Rollback:
    """The rollback after the upgrade; no version is named."""
    with under_traffic(stack, deployment, project) as traffic:
        run = recorded("rollback")
    return Rollback(run, described(deployment), traffic)


def test_the_run_changed_exactly_what_the_check_announced(upgrade: Upgrade) -> None:
    assert upgrade.run.returncode == 0, upgrade.run.output
    assert upgrade.check.changes == upgrade.run.changes
    assert upgrade.run.tasks == {IMAGE, FUNCTION, ALIAS, CATALOG, CATALOG_ALIAS, RETIRED}
    assert upgrade.check.diffs[RETIRED] == upgrade.run.diffs[RETIRED]


def test_the_alias_names_a_new_version_with_a_new_digest_and_the_old_one_is_kept(upgrade: Upgrade) -> None:
    before, after = upgrade.before, upgrade.after
    assert int(after["alias"]) == int(before["alias"]) + 1
    assert after["images"][after["alias"]] != before["images"][before["alias"]]
    assert "@sha256:" in after["images"][after["alias"]]
    assert before["alias"] in after["images"]
    assert (
        after["images"].items()
        >= {number: image for number, image in before["images"].items() if number != OLDEST}.items()
    )


def test_versions_beyond_the_kept_ones_are_removed(upgrade: Upgrade, stack: LocalStack) -> None:
    assert upgrade.before["images"].keys() - upgrade.after["images"].keys() == {OLDEST}
    assert len(surplus_images(stack.aws("ecr"))) == SURPLUS_IMAGES - 1


def test_every_acknowledged_webhook_ended_as_an_object(upgrade: Upgrade, deployment: Deployment) -> None:
    assert_all_saved(upgrade.traffic, deployment)


def test_a_rollback_without_a_number_restores_the_previous_version(upgrade: Upgrade, rollback: Rollback) -> None:
    assert rollback.run.returncode == 0, rollback.run.output
    assert rollback.run.tasks == {f"live_version : Ensure the alias points to version {upgrade.before['alias']}"}
    assert rollback.after == {**upgrade.after, "alias": upgrade.before["alias"]}


def test_the_catalog_is_rolled_back_separately(rollback: Rollback, deployment: Deployment) -> None:
    """The upgrade changed its image too, and the exporter's rollback did not change it."""
    functions = deployment.functions
    catalog = f"{NAME}-catalog"

    def in_use() -> int:
        return int(functions.get_alias(FunctionName=catalog, Name="live")["FunctionVersion"])

    before = in_use()
    run = recorded("rollback", "-e", "live_version_function=catalog")
    assert run.returncode == 0, run.output
    assert run.tasks == {f"live_version : Ensure the alias points to version {before - 1}"}
    assert in_use() == before - 1
    assert described(deployment) == rollback.after, "the exporter is as it was"
    answer = functions.invoke(FunctionName=f"{catalog}:live", Payload=b'{"action":"self_check"}')
    assert json.loads(answer["Payload"].read())["ok"]


def test_every_webhook_acknowledged_during_the_rollback_ended_as_an_object(
    rollback: Rollback, deployment: Deployment
) -> None:
    assert_all_saved(rollback.traffic, deployment)
