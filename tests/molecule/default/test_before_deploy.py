"""Before the first deploy: what a check announces, and what is refused before anything is created."""

from __future__ import annotations

from pathlib import Path

from account_resources import everything
from alarm_names import ALARMS
from deployed_environment import NAME
from local_stack import LocalStack
from playbook_runs import run_playbook


def test_a_check_names_everything_and_creates_nothing(stack: LocalStack) -> None:
    check = run_playbook("deploy", "--check", "--diff")
    assert check.returncode == 0, check.output
    assert everything(stack.aws, NAME) == {}
    announced = {task.partition(" : ")[0] for task in check.changed}
    for alarm in ALARMS:
        assert f"{NAME}/{alarm}:" in check.output, "each alarm is named"
    assert announced == {
        "label_bucket",
        "export_queue",
        "catalog_queue",
        "catalog_execution_role",
        "catalog_function",
        "keep_active",
        "encord_secrets",
        "execution_role",
        "image_repository",
        "handler_image",
        "export_function",
        "front_door",
        "monitoring",
    }


# Everything else that is refused before anything is created: tests/contract/test_wrong_inputs.py, test_guards.py.
def test_a_malformed_private_key_is_refused_without_its_text(stack: LocalStack, tmp_path: Path) -> None:
    lines = Path(stack.facts["encord_private_key_file"]).read_text().splitlines()
    del lines[2]
    damaged = tmp_path / "key"
    damaged.write_text("\n".join(lines))
    run = run_playbook("deploy", "-vvv", "-e", f"encord_secrets_private_key_file={damaged}")
    assert run.returncode != 0
    assert "It is damaged" in " ".join(run.output.split())
    for line in lines[1:-1]:
        assert line not in run.output
    assert everything(stack.aws, NAME) == {}
