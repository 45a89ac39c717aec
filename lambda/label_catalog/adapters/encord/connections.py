"""Connections to Encord that several requests use, whether the SDK sends them or we do.

For each request the SDK makes a session, which requests gives a connection of its own and the certificate authorities,
read from their file: a TLS handshake, and 25 ms of CPU (measured). Here all sessions have one pool of connections, and
one context that has the authorities.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import urllib3
from encord.http import querier
from requests.adapters import HTTPAdapter


class Connections:
    """The connections of one process; safe to share between threads."""

    def __init__(self, environment: Mapping[str, str], most: int) -> None:
        """`most`: how many connections to a host are kept.

        Trusted are the system's certificate authorities and those of AWS_CA_BUNDLE, as in the exporter.
        """
        self._trust = ssl.create_default_context()
        if bundle := environment.get("AWS_CA_BUNDLE"):
            self._trust.load_verify_locations(cafile=bundle)
        self._pools = urllib3.PoolManager(maxsize=most, ssl_context=self._trust)

    def adapter(self, **options: Any) -> HTTPAdapter:
        """Return an adapter for a session of requests; `options` are HTTPAdapter's."""
        return _SharingAdapter(self._pools, self._trust, **options)

    def use_for_the_sdk(self) -> None:
        """Give these connections to the sessions that the SDK makes from now on (`encord.http.querier`).

        Where the SDK has no such name, its sessions have connections of their own.
        """
        if hasattr(querier, "HTTPAdapter"):
            querier.HTTPAdapter = self.adapter

    def drop(self) -> None:
        """Close the connections: while a function is frozen, the other side can close them unseen."""
        self._pools.clear()


class _SharingAdapter(HTTPAdapter):
    """Sends over pools that are not its own. They verify the other side, so nothing is set for each connection."""

    def __init__(self, pools: urllib3.PoolManager, trust: ssl.SSLContext, **options: Any) -> None:
        self._pools, self._trust = pools, trust
        super().__init__(**options)

    def init_poolmanager(self, *_given: Any, **_options: Any) -> None:
        """Use the shared pools."""
        self.poolmanager = self._pools

    def proxy_manager_for(self, *given: Any, **options: Any) -> Any:
        """Return the pools for a proxy, with the same certificate authorities."""
        return super().proxy_manager_for(*given, ssl_context=self._trust, **options)

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """Return the pool's host, without the file of authorities that requests would read."""
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave verification to the pools' context."""

    def close(self) -> None:
        """Close connections to proxies only: the shared ones outlive a session."""
        for proxy in self.proxy_manager.values():
            proxy.clear()
