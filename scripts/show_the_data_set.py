"""Build the index, show its first rows, and write the report.

Usage: show_the_data_set.py FUNCTION BUCKET, with the local stack running and deployed to.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import duckdb
from find_a_lost_label import ALIAS, LOOK_EVERY_SECONDS, invoke
from local_stack import PATIENCE_SECONDS, ROOT, LocalStack

REPORTS = ROOT / ".local" / "reports" / "local"
ROWS = 3
COLUMNS = "data_title, dataset_title, stage, objects, CAST(stored_at AS VARCHAR)[:19] AS stored_at"


def generation(stack: LocalStack, bucket: str, project: str) -> tuple[str, int, int]:
    """Return the generation in use, with its rows and annotations. Raises TimeoutError."""
    s3, end = stack.aws("s3"), time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        try:
            found = s3.get_object(Bucket=bucket, Key=f"encord/{project}/index/latest.json")
        except s3.exceptions.NoSuchKey:
            time.sleep(LOOK_EVERY_SECONDS)
        else:
            pointer = json.loads(found["Body"].read())
            return pointer["generation"], pointer["rows"], pointer["annotations"]
    raise TimeoutError(f"not within {PATIENCE_SECONDS} s: an index of project {project}")


def main() -> None:
    function, bucket = sys.argv[1:3]
    stack = LocalStack()
    project = str(stack.encord_json("GET", "projects")["projects"][0]["project_hash"])
    if has_index(stack, function):
        invoke(stack, function, {"action": "index", "step": "rebuild", "project_hash": project})
        try:
            show_rows(stack, bucket, project)
        except TimeoutError as error:
            sys.exit(f"{error}. See the log of {function} in CloudWatch Logs.")
    else:
        print("   There is no index: label_bucket_event_bridge is false.")
    invoke(stack, function, {"action": "report", "project_hash": project})
    (report,) = invoke(stack, function, {"action": "report", "step": "read", "project_hash": project})["reports"]
    REPORTS.mkdir(parents=True, exist_ok=True)
    path = REPORTS / f"{project}.html"
    path.write_text(report["html"])
    print(f"   The report, for a browser: {path}")


def has_index(stack: LocalStack, function: str) -> bool:
    """Return whether the deployed function keeps an index."""
    found = stack.aws("lambda").get_function_configuration(FunctionName=function, Qualifier=ALIAS)
    return str(found["Environment"]["Variables"].get("LABEL_CATALOG_INDEX")).lower() == "true"


def show_rows(stack: LocalStack, bucket: str, project: str) -> None:
    """Print the newest rows of the index. Raises TimeoutError if there is none in time."""
    name, rows, annotations = generation(stack, bucket, project)
    print(f"   {rows} labels, {annotations} annotations: s3://{bucket}/encord/{project}/index/{name}/labels.parquet")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "labels.parquet"
        stack.aws("s3").download_file(bucket, f"encord/{project}/index/{name}/labels.parquet", str(file))
        query = f"SELECT {COLUMNS} FROM read_parquet('{file}') ORDER BY edited_at DESC NULLS LAST LIMIT {ROWS}"  # noqa: S608 - names of our own # nosec B608
        rows_shown = duckdb.connect().execute(query).fetchall()
        for row in rows_shown:
            print(f"   {' | '.join(str(value) for value in row)}")


if __name__ == "__main__":
    main()
