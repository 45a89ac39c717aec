"""The part of a container engine that is used before an image is built: its version, and registry logins."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar


class JsonServer(BaseHTTPRequestHandler):
    """Answers with a status and JSON, or with plain text."""

    def answer(self, status: int, content: Any) -> None:
        """Send an answer."""
        text = content if isinstance(content, str) else json.dumps(content)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def body(self) -> str:
        """Return what was sent."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Engine(JsonServer):
    """An engine whose logins to registries all succeed."""

    lets_in: ClassVar[bool] = True
    logins: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        """Say what it is."""
        found = {"ApiVersion": "1.41", "MinAPIVersion": "1.12", "OSType": "linux", "Architecture": "x86_64"}
        self.answer(200, found)

    def do_POST(self) -> None:
        """Log in to a registry."""
        self.logins.append(json.loads(self.body()))
        if self.lets_in:
            self.answer(200, {"Status": "Login Succeeded"})
        else:
            self.answer(500, {"message": "dial tcp: lookup of the registry: no such host"})
