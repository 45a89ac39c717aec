"""Runs the SAM CLI with the local stack's registry instead of the registry that AWS names.

It runs with the Python of the SAM CLI's own environment. The request for the login is made as usual.
"""

from __future__ import annotations

import base64
from typing import Any

from samcli.cli.main import cli
from samcli.lib.package.ecr_uploader import ECRUploader


def login(uploader: Any) -> None:
    """Keep the login for the push, but do not log in: the registry's own host exists only on AWS."""
    token = uploader.ecr_client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    username, password = base64.b64decode(token).decode().split(":")
    uploader.auth_config = {"username": username, "password": password}


ECRUploader.login = login
cli(prog_name="sam")
