"""The table of AWS partitions is botocore's."""

from __future__ import annotations

from pathlib import Path

import yaml
from botocore.loaders import Loader

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_of_partitions_is_botocores() -> None:
    variables = yaml.safe_load((ROOT / "roles/label_export/vars/main.yml").read_text())
    botocores = {
        partition["id"]: {"region": partition["regionRegex"], "dns_suffix": partition["outputs"]["dnsSuffix"]}
        for partition in Loader().load_data("partitions")["partitions"]
    }
    assert variables["__label_export_partitions"] == botocores


def test_no_role_or_module_hard_codes_a_partition() -> None:
    """Every ARN uses ``label_export_partition``; a message may show the form of an ARN, with ``<region>``."""
    paths = [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("roles/*/vars/*.yml"), *ROOT.glob("roles/*/templates/*")]
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in paths
        if not {"local_stack", "local_deployer"} & set(path.parts)
        for line in path.read_text().splitlines()
        if "arn:aws" in line and "<region>" not in line
    ]
    assert found == []
