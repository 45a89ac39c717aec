"""HTTP over kept connections. Every failure is raised as an error of core/errors.py, and redirects are not followed."""

from __future__ import annotations

import re
import ssl
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import cast

import urllib3

from label_export import __version__
from label_export.core.edit_times import in_utc
from label_export.core.errors import ExportError, PermanentError, RetryableError
from label_export.core.ports import Buffer

USER_AGENT = f"encord-label-export/{__version__}"
CONNECT_TIMEOUT = 5.0  # seconds
_CHUNK = 1 << 20
_PIECE = 1 << 16  # bytes that one read may return; a TLS record has at most 16 KiB
_GZIP = 16 + zlib.MAX_WBITS  # zlib's number for gzip's format
_SMALL_BODY = 1 << 20

Collect = Callable[[Iterator[bytes]], Buffer]


@dataclass(frozen=True, slots=True)
class Request:
    """One request."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: Buffer | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer. Header names are matched without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: Buffer

    @property
    def retry_after(self) -> float | None:
        """The pause that the server requests, in seconds; None if it requests none that can be parsed.

        Seconds or a date (RFC 9110, 10.2.3). A date counts from the answer's Date, that is, the server's clock.
        """
        text = self.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"[0-9]{1,9}", text):
            return float(text)
        moment = _http_date(text)
        if moment is None:
            return None
        answered = _http_date(self.headers.get("Date", "")) or datetime.now(UTC)
        return max(0.0, (moment - answered).total_seconds())


def _http_date(text: str) -> datetime | None:
    """Return the moment that an HTTP date names, in any of RFC 9110's three forms; None for anything else."""
    try:
        return in_utc(parsedate_to_datetime(text))
    except (ValueError, OverflowError):
        return None


def trust_store(environment: Mapping[str, str]) -> ssl.SSLContext:
    """Return the system's certificate authorities (SSL_CERT_FILE replaces them) and those of AWS_CA_BUNDLE."""
    context = ssl.create_default_context()
    if bundle := environment.get("AWS_CA_BUNDLE"):
        context.load_verify_locations(cafile=bundle)
    return context


class Transport:
    """Sends requests over pools of kept connections; safe to share between threads."""

    def __init__(
        self, *, connections_per_host: int, environment: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._pools = urllib3.PoolManager(
            maxsize=connections_per_host, retries=False, ssl_context=trust_store(environment), headers={}
        )

    def send(  # noqa: PLR0913  (three time-outs)
        self,
        request: Request,
        *,
        peer: str,
        timeout: float,
        read_timeout: float,
        connect_timeout: float = CONNECT_TIMEOUT,
        collect: Collect | None = None,
    ) -> Response:
        """Send one request and return the whole answer, with any status.

        Args:
            request: what to send.
            peer: the other side's name in errors.
            timeout: seconds for the whole request. While the answer's headers arrive, they restart with each byte.
            read_timeout: seconds without a byte, so also for the first byte of the answer.
            connect_timeout: seconds until there is a connection.
            collect: takes the chunks of the answer's body and returns the whole (default: at most 1 MiB in memory).

        Raises RetryableError if the connection fails or closes early, or the time is over.
        """
        deadline = self._clock() + timeout
        try:
            response = self._pools.request(
                request.method,
                request.url,
                headers={"User-Agent": USER_AGENT, **request.headers},
                body=cast("bytes | None", request.body),  # urllib3 accepts any buffer, unlike its type hints
                redirect=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=min(connect_timeout, timeout), read=min(read_timeout, timeout)),
            )
            try:
                pieces = self._pieces(response, deadline, peer)
                gzipped = response.headers.get("Content-Encoding", "").lower() == "gzip"
                whole = (collect or _collect_small)(_decompressed(pieces, peer) if gzipped else pieces)
            except BaseException:
                response.close()
                raise
            response.release_conn()
        except urllib3.exceptions.NewConnectionError as error:  # urllib3 derives it from TimeoutError
            raise _failed_connection(peer, error) from None
        except urllib3.exceptions.TimeoutError:
            raise RetryableError("timeout", f"{peer} did not answer in time") from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _failed_connection(peer, error) from None
        return Response(response.status, response.headers, whole)

    def _pieces(self, response: urllib3.BaseHTTPResponse, deadline: float, peer: str) -> Iterator[bytes]:
        """Yield bytes as they arrive.

        Waiting for a full buffer would restart the socket time-out with every byte of a slow answer.
        """
        while piece := response.read1(_PIECE, decode_content=False):
            if self._clock() > deadline:
                raise RetryableError("timeout", f"{peer} did not finish its answer in time")
            yield piece


def _decompressed(pieces: Iterator[bytes], peer: str) -> Iterator[bytes]:
    """Decompress gzip, at most 1 MiB at once. The parser of the content finds an answer that ends early."""
    decompressor = zlib.decompressobj(_GZIP)
    try:
        for piece in pieces:
            left = piece
            while left:
                if decompressor.eof:
                    decompressor = zlib.decompressobj(_GZIP)
                yield decompressor.decompress(left, _CHUNK)
                left = decompressor.unconsumed_tail or decompressor.unused_data
        yield decompressor.flush()
    except zlib.error:
        raise RetryableError("malformed_answer", f"{peer}'s answer cannot be decompressed") from None


def _collect_small(chunks: Iterator[bytes]) -> bytes:
    whole = bytearray()
    for chunk in chunks:
        whole += chunk
        if len(whole) > _SMALL_BODY:
            raise RetryableError("malformed_answer", "an answer is far larger than it can be")
    return bytes(whole)


def _failed_connection(peer: str, error: Exception) -> ExportError:
    cause = error.args[0] if error.args else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return PermanentError("tls", f"{peer} cannot be trusted: {cause.verify_message}")
    return RetryableError("connection", f"the connection to {peer} failed: {type(error).__name__}")
