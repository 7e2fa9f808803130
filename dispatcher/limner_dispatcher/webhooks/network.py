"""Connections of webhooks: a host name is resolved once, all of its addresses are checked, and the connection goes to
one of exactly these. Certificates are checked against the name, as always.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterable
from queue import Empty, SimpleQueue
from typing import Any, Final

import httpcore

from limner_shared.domain.webhook_targets import Address, Targets
from limner_shared.telemetry import get_logger
from limner_shared.threads import SupervisedPool
from limner_shared.timed_streams import TimedStream

log = get_logger(__name__)

MAX_ADDRESSES: Final = 4
"""Addresses of a name that are tried."""


class TargetRefused(Exception):
    """The URL leads to an address that webhooks are not sent to."""


class NameUnresolved(Exception):
    """The host name has no address, or the name server did not answer."""


class Names:
    """Resolves host names within a time limit. Thread-safe.

    The system's resolver has limits of its own only (in glibc 5 s for each try and name server), so it is called on a
    thread of the pool, which a look-up that takes longer leaves when the resolver gives up.
    """

    def __init__(self, pool: SupervisedPool) -> None:
        self._pool = pool

    def addresses(self, host: str, port: int, seconds: float) -> list[Address]:
        """The addresses of a host, each once. Raises NameUnresolved."""
        answers: SimpleQueue[list[Address] | Exception] = SimpleQueue()
        self._pool.submit(self._ask, host, port, answers)
        try:
            answer = answers.get(timeout=max(seconds, 0))
        except Empty as error:
            raise NameUnresolved(f"{host} could not be resolved within {seconds:.0f} s") from error
        if isinstance(answer, Exception):
            raise NameUnresolved(f"{host} could not be resolved: {answer}") from answer
        return answer

    def close(self) -> None:
        """Wait for the look-ups that still run."""
        self._pool.close()

    @staticmethod
    def _ask(host: str, port: int, answers: SimpleQueue[list[Address] | Exception]) -> None:
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
            answers.put(list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0])) for entry in found)))
        except (OSError, ValueError) as error:
            answers.put(error)


class Network(httpcore.NetworkBackend):
    """The network of one request, which ends `seconds` from now; `address` is where it is connected."""

    def __init__(self, targets: Targets, names: Names, seconds: float) -> None:
        self._targets = targets
        self._names = names
        self._deadline = time.monotonic() + seconds
        self._backend = httpcore.SyncBackend()
        self.address: str | None = None

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that accepts. Raises TargetRefused, NameUnresolved and httpcore's errors."""
        addresses = self._resolve(host, port)
        for number, address in enumerate(addresses, 1):
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise httpcore.ConnectTimeout("no time is left to connect")
            self.address = str(address)
            share = left / (len(addresses) + 1 - number)
            try:
                stream = self._backend.connect_tcp(self.address, port, timeout=share)
                return TimedStream(stream, lambda: self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses):
                    raise
        raise NameUnresolved(f"{host} has no address")

    def _resolve(self, host: str, port: int) -> list[Address]:
        addresses = self._names.addresses(host, port, self._deadline - time.monotonic())
        refused = [address for address in addresses if not self._targets.allows(host, address)]
        if refused:
            # For the operator only: to tenants, addresses would tell what names lead to in the internal network.
            log.warning("a webhook leads to an internal address", host=host, address=str(refused[0]))
            raise TargetRefused(f"{host} leads to an address that is not of the public internet")
        return addresses[:MAX_ADDRESSES]
