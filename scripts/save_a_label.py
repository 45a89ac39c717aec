"""Act as a person who completes a task in Encord, and show the label in the bucket.

Usage: save_a_label.py WEBHOOK_URL BUCKET, with the local stack running and deployed to.
"""

from __future__ import annotations

import hashlib
import sys
import time

from local_stack import LocalStack

EXCERPT_CHARACTERS = 480


def main() -> None:
    webhook_url, bucket = sys.argv[1:3]
    stack = LocalStack()
    stack.encord_json("POST", "webhooks", {"url": webhook_url})
    project = stack.encord_json("GET", "projects")["projects"][0]
    row = next(row for row in project["label_rows"] if row["label_hash"])
    print(f"   project '{project['title']}', {row['data_type'].lower()} '{row['data_title']}'")

    began = time.monotonic()
    task = stack.encord_json("POST", "complete-task", {"label_hash": row["label_hash"]})
    delivery = task["deliveries"][0]
    print(f"   the webhook was answered {delivery['status']}")
    accepted = 202
    if delivery["status"] != accepted:
        sys.exit(f"The webhook was refused: {delivery.get('body')}. The function's log is in CloudWatch Logs.")
    try:
        key, found = stack.saved_label(bucket, row["label_hash"], task["last_edited_at"])
    except TimeoutError as error:
        sys.exit(f"{error}. See the function's log in CloudWatch Logs, and .local/state/logs.")
    seconds = time.monotonic() - began
    body = found["Body"].read()
    served = stack.encord("GET", f"label-rows/{row['label_hash']}")

    print(f"\nSaved: s3://{bucket}/{key}")
    print(f"   {len(body)} bytes, {seconds:.1f} s after the task was completed")
    for name, value in sorted(found["Metadata"].items()):
        print(f"   {name}: {value}")
    print(f"   SHA-256 of the object: {hashlib.sha256(body).hexdigest()}")
    if body != served:
        sys.exit("The object is not what Encord serves for this label.")
    print("   the same bytes that Encord serves for this label\n")
    print(body[:EXCERPT_CHARACTERS].decode(errors="replace") + (" ..." if len(body) > EXCERPT_CHARACTERS else ""))


if __name__ == "__main__":
    main()
