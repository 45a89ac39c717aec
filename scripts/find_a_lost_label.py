"""Lose a webhook, let the catalog find its label, and show how complete the bucket is.

Usage: find_a_lost_label.py FUNCTION BUCKET, with the local stack running and deployed to.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from local_stack import PATIENCE_SECONDS, LocalStack

ALIAS = "live"
LOOK_EVERY_SECONDS = 1


def invoke(stack: LocalStack, function: str, event: dict[str, Any]) -> dict[str, Any]:
    """Invoke the catalog function and return its response. Ends the program if the function fails."""
    response = stack.aws("lambda").invoke(FunctionName=function, Qualifier=ALIAS, Payload=json.dumps(event).encode())
    answer = json.loads(response["Payload"].read())
    if "FunctionError" in response:
        sys.exit(f"{function} failed: {answer.get('errorMessage', answer)}. See its log in CloudWatch Logs.")
    return dict(answer)


def counted(stack: LocalStack, function: str) -> dict[str, Any]:
    """Run a census; return the function's status once every project has been counted. Raises TimeoutError."""
    started = invoke(stack, function, {"action": "census"})["started"]
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        work = invoke(stack, function, {"action": "census", "step": "status", "project_hash": "all"})["projects"]
        if len(work) == len(started) and not any(item["state"] in ("running", "waiting") for item in work):
            return invoke(stack, function, {"action": "status"})
        time.sleep(LOOK_EVERY_SECONDS)
    raise TimeoutError(f"not within {PATIENCE_SECONDS} s: a census")


def main() -> None:
    function, bucket = sys.argv[1:3]
    stack = LocalStack()
    project = stack.encord_json("GET", "projects")["projects"][0]
    row = [row for row in project["label_rows"] if row["label_hash"]][1]
    task = stack.encord_json("POST", "complete-task", {"label_hash": row["label_hash"], "deliver": False})
    print(f"   {row['data_type'].lower()} '{row['data_title']}' is complete; its webhook is lost")
    began = time.monotonic()
    invoke(stack, function, {"action": "reconcile"})
    try:
        key, _found = stack.saved_label(bucket, row["label_hash"], task["last_edited_at"])
        print(f"   found by the catalog's next reconcile, saved after {time.monotonic() - began:.1f} s:")
        print(f"   s3://{bucket}/{key}\n")
        print("Completeness, by a census of every label:")
        for status in counted(stack, function)["projects"]:
            print(f"   {status['line']}")
    except TimeoutError as error:
        sys.exit(f"{error}. See the log of {function} in CloudWatch Logs, and .local/state/logs.")


if __name__ == "__main__":
    main()
