"""Our Signature Version 4 against botocore's, for any request."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest.mock import patch
from urllib.parse import quote, urlencode

import botocore.auth
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given, settings
from hypothesis import strategies as st
from label_export.adapters.aws.sigv4 import Credentials, quote_path, signed
from label_export.adapters.transport import Request

NOW = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)

tokens = st.text("abcXYZ019/+=", min_size=1, max_size=40)
segments = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12).filter(
    lambda text: text not in (".", "..")
)
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).map(str.strip)


@settings(deadline=None, max_examples=200)
@given(
    service=st.sampled_from(["s3", "sqs", "secretsmanager"]),
    method=st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"]),
    path=st.lists(segments, max_size=3).map("/".join),
    query=st.dictionaries(st.text("abcAB-_", min_size=1, max_size=8), st.text(max_size=8), max_size=4),
    headers=st.dictionaries(st.from_regex(r"x-amz-[a-z]{1,8}", fullmatch=True), header_values, max_size=4),
    body=st.binary(max_size=50),
    secret=tokens,
    session=st.none() | tokens,
    port=st.sampled_from(["", ":4566"]),
)
def test_the_signature_is_botocores(  # noqa: PLR0913, PLR0917  (the parts of a request)
    service: str,
    method: str,
    path: str,
    query: dict[str, str],
    headers: dict[str, str],
    body: bytes,
    secret: str,
    session: str | None,
    port: str,
) -> None:
    path = quote_path(path) if service == "s3" else ""
    url = f"http://host.example{port}/{path}" + (f"?{urlencode(query, quote_via=quote, safe='')}" if query else "")
    ours = signed(
        Request(method, url, headers, body),
        Credentials("AKID", secret, session),
        region="eu-west-1",
        service=service,
        now=NOW,
    )
    theirs = AWSRequest(method=method, url=url, data=body, headers=headers)
    signer = (S3SigV4Auth if service == "s3" else SigV4Auth)(
        BotoCredentials("AKID", secret, session), service, "eu-west-1"
    )
    with patch.object(botocore.auth, "get_current_datetime", return_value=NOW):
        signer.add_auth(theirs)
    assert ours.headers["Authorization"] == theirs.headers["Authorization"]
    assert ours.headers.get("X-Amz-Security-Token") == theirs.headers.get("X-Amz-Security-Token")


def test_secret_parts_do_not_show() -> None:
    assert repr(Credentials("AKID", "canary", "canary")) == "Credentials(access_key='AKID')"
