"""The baseline: a handler as in Encord's guide for AWS Lambda, with every step inside the handler, for each event.

Client from the private key, project, label rows, initialise, dictionary, S3. The key is in the environment, which is
the guide's fastest way. Nothing in here is slowed down; the labels of one event share the client, project and listing.
"""

from __future__ import annotations

import json
import os
from typing import Any

import boto3
from encord import EncordUserClient


def handle(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Save the labels that a batch of SQS messages names."""
    wanted: dict[str, list[str]] = {}
    for record in event["Records"]:
        message = json.loads(record["body"])
        wanted.setdefault(message["project_hash"], []).append(message["label_hash"])

    client = EncordUserClient.create_with_ssh_private_key(
        os.environ["ENCORD_SSH_KEY"], domain=os.environ["ENCORD_DOMAIN"]
    )
    s3 = boto3.client("s3")
    for project_hash, label_hashes in wanted.items():
        project = client.get_project(project_hash)
        for label_row in project.list_label_rows_v2(label_hashes=label_hashes):
            label_row.initialise_labels()
            s3.put_object(
                Bucket=os.environ["BUCKET"],
                Key=f"encord/{project_hash}/labels/{label_row.label_hash}.json",
                Body=json.dumps(label_row.to_encord_dict()).encode(),
                ContentType="application/json",
            )
    return {"batchItemFailures": []}
