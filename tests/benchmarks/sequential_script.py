"""The baseline of a backfill: a script in the style of Encord's guide, one label after the other.

    python tests/benchmarks/sequential_script.py LABELS

The listing is made once, before the measurement starts. Prints labels a second.
"""

from __future__ import annotations

import json
import os
import sys
import time

import boto3
from encord import EncordUserClient


def script(count: int) -> dict[str, float]:
    """Save `count` labels as in Encord's guide, one after the other. Returns labels a second."""
    client = EncordUserClient.create_with_ssh_private_key(
        os.environ["ENCORD_SSH_KEY"], domain=os.environ["ENCORD_DOMAIN"]
    )
    s3 = boto3.client("s3")
    project = client.get_project(os.environ["PROJECT"])
    rows = project.list_label_rows_v2(workflow_graph_node_title_eq="Complete")
    chosen = [row for row in rows if (row.data_title or "").startswith("giant")][:count]
    if len(chosen) < count:
        raise SystemExit(f"the script was given {len(chosen)} labels of {count}")
    began = time.perf_counter()
    for row in chosen:
        row.initialise_labels()
        body = json.dumps(row.to_encord_dict()).encode()
        s3.put_object(Bucket=os.environ["BUCKET"], Key=f"script/{row.label_hash}.json", Body=body)
    return {"rate": count / (time.perf_counter() - began)}


if __name__ == "__main__":
    print(json.dumps(script(int(sys.argv[1]))))
