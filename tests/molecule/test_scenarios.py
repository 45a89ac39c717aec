"""Runs each molecule scenario, and checks that it did what its name says.

Molecule passes a scenario whose playbook is missing or whose play matches no host; these tests do not.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
import yaml
from local_stack import LocalStack

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "molecule"
SCENARIOS = sorted(path.parent.name for path in HERE.glob("*/molecule.yml"))
LOGS = ROOT / ".local" / "logs"
STACK_UP, STACK_DOWN = "local.yml", "local_down.yml"
# With more at a time two cores get less done: each run takes from the caches what the others have there.
# With one, `default` would wait in the place that another needs.
AT_A_TIME = 3
LONGEST_FIRST = ["drift", "upgrade", "teardown", "default", "alternative"]
# Before its tests, `default` waits for this file: nothing else runs on the stack any more.
QUIET = ROOT / ".local" / "molecule" / "quiet"
WAITS_FOR_QUIET = "default"
# The prefix of the names of the environments' deployers.
DEPLOYERS = "deployer-of-label-export"
# Further actions that the deployer's policies allow, and when AWS checks them.
NOT_ASKED_FOR_HERE = {
    "docker push, of AWS's registry": (
        "ecr:BatchCheckLayerAvailability",
        "ecr:CompleteLayerUpload",
        "ecr:InitiateLayerUpload",
        "ecr:PutImage",
        "ecr:UploadLayerPart",
    ),
    "Lambda, for the image and the role of a function": ("ecr:GetDownloadUrlForLayer",),
    "Lambda, for a function in a VPC": ("ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs"),
    "services that use a customer managed key; the emulator does not check them": (
        "kms:CreateGrant",
        "kms:Decrypt",
        "kms:DescribeKey",
        "kms:Encrypt",
        "kms:GenerateDataKey",
    ),
    "S3, for a new bucket with Object Lock": ("s3:PutBucketObjectLockConfiguration",),
    "API Gateway, for a stage's access log": (
        "logs:CreateLogDelivery",
        "logs:DeleteLogDelivery",
        "logs:DescribeResourcePolicies",
        "logs:GetLogDelivery",
        "logs:ListLogDeliveries",
        "logs:PutResourcePolicy",
        "logs:UpdateLogDelivery",
    ),
    "API Gateway, for tags; the emulator checks the verb of the call": (
        "apigateway:PUT",
        "apigateway:TagResource",
        "apigateway:UntagResource",
    ),
    "a deploy in a state that no scenario leaves; tests of the module cover it": (
        "lambda:UpdateFunctionUrlConfig",  # a Function URL that requires IAM authentication
        "logs:AssociateKmsKey",  # a log group with another key
        "logs:DisassociateKmsKey",
        "s3:GetBucketPolicyStatus",  # an existing bucket with a policy
        "s3:AbortMultipartUpload",  # a bucket with an unfinished upload that is destroyed
        "secretsmanager:DeleteResourcePolicy",  # readers of the secrets that were removed from the settings
        "secretsmanager:RestoreSecret",  # a secret that was deleted, and can still be restored
        "sns:Unsubscribe",  # an address that was removed
    ),
}
# Steps of molecule without a playbook.
WITHOUT_PLAYBOOK = {"idempotence": "converge"}


def scenario_configuration(scenario: str) -> dict[str, Any]:
    return yaml.safe_load((HERE / scenario / "molecule.yml").read_text())


def hosts_matched(step_output: str) -> int:
    """Return the number of hosts that ran at least one task, from Ansible's recap."""
    return len(re.findall(r"^\S+ +: ok=[1-9]\d* ", step_output, re.MULTILINE))


def steps(output: str) -> dict[str, str]:
    """Split molecule's output by step; later runs of a step are appended to its first."""
    parts = re.split(r"^INFO +\[\S+ > (\w+)\] Executing$", output, flags=re.MULTILINE)
    found: dict[str, str] = {}
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        found[name] = found.get(name, "") + text
    return found


def what_failed(output: str) -> list[str]:
    """Return the tests that failed in a scenario, with pytest's reasons; otherwise the tasks that failed."""
    found = re.findall(r"^ *(?:FAILED|ERROR) (tests/molecule/.*)$", output, re.MULTILINE)
    for step, text in steps(output).items():
        if not found:
            parts = re.split(r"^TASK \[(.*)\] \**$", text, flags=re.MULTILINE)
            tasks = zip(parts[1::2], parts[2::2], strict=True)
            found = [f"{step}: {task}" for task, said in tasks if re.search(r"^(fatal|failed):", said, re.MULTILINE)]
    return list(dict.fromkeys(found))


FAILED_TESTS = """
INFO     [drift > verify] Executing
TASK [Run the tests] ***
fatal: [localhost]: FAILED! =>
    stdout: |-
        FAILED tests/molecule/drift/test_drift.py::test_healed[a role : Ensure] - Asser...
        ERROR tests/molecule/drift/test_front_door.py::test_kinds
INFO     [drift > destroy] Executing
"""
FAILED_TASK = """
INFO     [drift > converge] Executing
TASK [export_queue : Present | Ensure the queue] ***
ok: [localhost]
TASK [export_queue : Present | Ensure the dead-letter queue] ***
fatal: [localhost]: FAILED! =>
    msg: AccessDenied
"""


@pytest.mark.parametrize(
    ("output", "failed"),
    [
        (
            FAILED_TESTS,
            [
                "tests/molecule/drift/test_drift.py::test_healed[a role : Ensure] - Asser...",
                "tests/molecule/drift/test_front_door.py::test_kinds",
            ],
        ),
        (FAILED_TASK, ["converge: export_queue : Present | Ensure the dead-letter queue"]),
        ("killed", []),
    ],
)
def test_failures_in_a_scenario_are_named(output: str, failed: list[str]) -> None:
    assert what_failed(output) == failed


def test_the_scenarios_exist() -> None:
    assert set(SCENARIOS) == set(LONGEST_FIRST)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_playbook_exists(scenario: str) -> None:
    configuration = scenario_configuration(scenario)
    playbooks = configuration["ansible"]["playbooks"]
    missing = {step: path for step, path in playbooks.items() if not (HERE / scenario / path).is_file()}
    assert missing == {}
    sequence = configuration["scenario"]["test_sequence"]
    without = {step for step in sequence if WITHOUT_PLAYBOOK.get(step, step) not in playbooks}
    assert without == set()


@pytest.mark.parametrize("directory", sorted({path.parent.name for path in HERE.glob("*/test_*.py")}))
def test_every_test_file_is_run(directory: str) -> None:
    playbooks = SCENARIOS if directory == "steps" else [directory]
    named = {
        name
        for scenario in playbooks
        for path in (HERE / scenario).glob("*.yml")
        for name in re.findall(rf"tests/molecule/{directory}/(test_\w+\.py)", path.read_text())
    }
    assert named == {path.name for path in (HERE / directory).glob("test_*.py")}


def run(log: Path, *command: str, **environment: str) -> int:
    """Run a command in the repository with its output in a file; return its exit code."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "NO_COLOR": "1", "ANSIBLE_FORCE_COLOR": "0", **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        ).returncode


def run_scenario(scenario: str) -> int:
    # In its default place Molecule would remember what it has created by the name of the checkout's directory: after an
    # earlier run, or with another checkout of that name, it would skip steps.
    remembered = ROOT / ".local" / "molecule" / scenario
    shutil.rmtree(remembered, ignore_errors=True)
    return run(
        LOGS / f"molecule-{scenario}.log",
        *("molecule", "test", "-s", scenario, "--no-command-borders"),
        COLUMNS="240",  # pytest cuts the reasons of its failures at this width
        MOLECULE_GLOB="tests/molecule/*/molecule.yml",
        MOLECULE_EPHEMERAL_DIRECTORY=str(remembered),
        LABEL_EXPORT_QUIET_FILE=str(QUIET),
    )


class Scenarios:
    """Runs of scenarios on one new local stack, in parallel."""

    def __init__(self, selected: list[str]) -> None:
        self.selected = sorted(selected, key=LONGEST_FIRST.index)
        self.pool = ThreadPoolExecutor(AT_A_TIME)
        self.runs: dict[str, Future[int]] = {}

    def start(self) -> None:
        """Start the longest first; they continue while tests wait for one of them."""
        if self.runs:
            return
        for playbook in (STACK_DOWN, STACK_UP):
            log = LOGS / f"molecule-{playbook}.log"
            # Only the stack: each scenario has its own deployer.
            stack_alone = ("-i", "inventory/local", "--tags", "local_stack")
            assert run(log, "ansible-playbook", f"playbooks/{playbook}", *stack_alone) == 0, log.read_text()
        QUIET.parent.mkdir(parents=True, exist_ok=True)
        QUIET.unlink(missing_ok=True)
        self.runs = {scenario: self.pool.submit(run_scenario, scenario) for scenario in self.selected}
        self.tell_whether_it_is_quiet()
        for one in self.runs.values():
            one.add_done_callback(self.tell_whether_it_is_quiet)

    def tell_whether_it_is_quiet(self, _ended: Future[int] | None = None) -> None:
        if all(one.done() for scenario, one in self.runs.items() if scenario != WAITS_FOR_QUIET):
            QUIET.touch()

    def result(self, scenario: str) -> int:
        """Return molecule's exit code for a scenario, once it has run."""
        self.start()
        return self.runs[scenario].result()

    def asked_for(self) -> set[str]:
        """Return the actions that AWS checked for the deployer, once all have run."""
        self.start()
        wait(self.runs.values())
        return LocalStack().allowed_actions(DEPLOYERS)

    def allowed(self) -> set[str]:
        """Return the actions that the policies of the deployers allow, once all have run."""
        self.start()
        wait(self.runs.values())
        iam, found = LocalStack().aws("iam"), set()
        for policy in iam.list_policies(Scope="Local")["Policies"]:
            if policy["PolicyName"].startswith(DEPLOYERS):
                version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])
                statements = version["PolicyVersion"]["Document"]["Statement"]
                found |= {action for statement in statements for action in statement["Action"]}
        return found

    def end(self) -> None:
        self.pool.shutdown()
        run(LOGS / f"molecule-{STACK_DOWN}.log", "ansible-playbook", f"playbooks/{STACK_DOWN}")


@pytest.fixture(scope="module")
def scenarios(request: pytest.FixtureRequest) -> Iterator[Scenarios]:
    """The runs of all selected scenarios, for example one with `pytest -k drift`."""
    items = [item for item in request.session.items if "scenarios" in getattr(item, "fixturenames", ())]
    found = Scenarios([str(item.callspec.params["scenario"]) for item in items if hasattr(item, "callspec")])
    yield found
    found.end()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_passes_and_each_step_matched_a_host(
    scenario: str, scenarios: Scenarios, record_property: Callable[[str, object], None]
) -> None:
    returncode = scenarios.result(scenario)
    log = LOGS / f"molecule-{scenario}.log"
    output = log.read_text()
    tail = "\n".join(output.splitlines()[-80:])
    if returncode != 0:
        failed = what_failed(output) or [f"molecule itself, with exit code {returncode}"]
        for name in failed:
            record_property("failed", name)  # read by conftest.py and scripts/run_tests.py
        with log.open("a") as file:
            file.write("\n".join(["", f"What failed in the scenario {scenario}:", *failed, ""]))
        pytest.fail(f"{tail}\n\nThe whole output: {log}\nWhat failed in the scenario {scenario}: {', '.join(failed)}")
    ran = steps(output)
    for step in scenario_configuration(scenario)["scenario"]["test_sequence"]:
        assert hosts_matched(ran.get(step, "")) > 0, f"the step {step} of {scenario} matched no host; see {log}"


def test_the_deployer_needs_everything_that_its_policies_allow(scenarios: Scenarios) -> None:
    """With fewer permissions the scenarios, which deploy as this user, would fail; more are not necessary."""
    if set(scenarios.selected) < set(SCENARIOS):
        pytest.skip("only some of the scenarios were selected")
    elsewhere = {action for actions in NOT_ASKED_FOR_HERE.values() for action in actions}
    unused = scenarios.allowed() - scenarios.asked_for()
    # As text, which pytest shows in full.
    assert " ".join(sorted(unused - elsewhere)) == "", "allowed, but not used"
    assert " ".join(sorted(elsewhere - unused)) == "", "listed above, but used or not allowed"
