"""Command line of the Encord stand-in: ``python -m encord_stand_in --help``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

import uvicorn

from encord_stand_in.app import StandIn
from encord_stand_in.keys import KeyRegistry
from encord_stand_in.server import ListenError, Server, listening_sockets, protocol_class
from encord_stand_in.state import State
from encord_stand_in.webhooks import SigningSecrets

_KEEP_ALIVE_SECONDS = 75
_SHUTDOWN_SECONDS = 2


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="encord_stand_in", description="A stand-in for Encord's API.")
    parser.add_argument("--port", type=int, default=4567, help="port on every address; 0 takes a free one")
    parser.add_argument("--bind", action="append", metavar="ADDRESS", help="address to listen on; may be repeated")
    parser.add_argument("--certificate", type=Path, help="TLS certificate chain (PEM); without it plain HTTP is served")
    parser.add_argument("--key", type=Path, help="the certificate's private key (PEM)")
    parser.add_argument(
        "--public-key-file", type=Path, required=True, help="OpenSSH Ed25519 public keys that may authenticate"
    )
    parser.add_argument(
        "--webhook-secret-file", type=Path, help="signing secrets, one on each line; the first signs; default: random"
    )
    parser.add_argument("--ca-file", type=Path, help="certificate authorities for webhooks to https URLs")
    parser.add_argument(
        "--control-token-file", type=Path, help="a token that clients of the control API must send; default: none"
    )
    parser.add_argument("--log-file", type=Path, help="log there instead of to standard error")
    arguments = parser.parse_args(argv)
    if (arguments.certificate is None) != (arguments.key is None):
        parser.error("--certificate and --key go together")
    for name in ("certificate", "key", "public_key_file", "webhook_secret_file", "ca_file", "control_token_file"):
        path = getattr(arguments, name)
        if path is not None and not path.is_file():
            parser.error(f"--{name.replace('_', '-')}: no such file: {path}")
    for address in arguments.bind or []:
        if address in {"0.0.0.0", "::", ""}:  # noqa: S104  # refused here, not bound  # nosec B104
            parser.error("--bind: name single addresses; the stand-in does not listen on all addresses")
    return arguments


def _log_to(path: Path | None) -> None:
    handler = logging.StreamHandler() if path is None else logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT and return 0; return 1 if it cannot listen on an address."""
    arguments = _arguments(argv)
    addresses: list[str] = arguments.bind or ["127.0.0.1"]
    try:
        sockets = listening_sockets(addresses, arguments.port)
    except ListenError as exc:
        print(f"encord_stand_in: {exc}", file=sys.stderr)
        return 1
    _log_to(arguments.log_file)
    state = State(
        KeyRegistry(arguments.public_key_file), SigningSecrets(arguments.webhook_secret_file), arguments.ca_file
    )
    scheme = "http" if arguments.certificate is None else "https"

    def ready() -> None:
        ports = [sock.getsockname()[1] for sock in sockets]
        urls = " ".join(f"{scheme}://{address}:{port}" for address, port in zip(addresses, ports, strict=True))
        print(f"encord_stand_in ready pid={os.getpid()} {urls}", flush=True)

    config = uvicorn.Config(
        StandIn(state, arguments.control_token_file.read_text().strip() if arguments.control_token_file else ""),
        http=protocol_class(state.counters.connection_opened),
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        ssl_certfile=arguments.certificate,
        ssl_keyfile=str(arguments.key) if arguments.key is not None else None,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    Server(config, ready).run(sockets=sockets)
    return 0


if __name__ == "__main__":
    sys.exit(main())
