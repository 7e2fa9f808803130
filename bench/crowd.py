"""The crowd of `bench.misbehaving_clients`: waiting and misbehaving clients in one process.

    python -m bench.crowd URL '[{"key": …, "job": …, "bulk": …}, …]'

The argument names each tenant's key, a queued job and a large bulk. Runs until it is killed.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

POLLS, STREAMS, SLOW_READERS, SILENT_UPLOADS, SILENT_HEADERS = 1500, 500, 50, 8, 100
HUNG_UP_CHATS_PER_SECOND: Final = 5
CONNECTING: Final = 50
"""Maximum concurrent connection attempts: the crowd arrives within seconds, not at once."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """One of the crowd's tenants."""

    key: str
    job: str
    bulk: str


class Crowd:
    """The clients of one server."""

    def __init__(self, url: str, tenants: list[Tenant]) -> None:
        address = urlsplit(url)
        self._host, self._port = str(address.hostname), address.port
        self._tenants: Iterator[Tenant] = itertools.cycle(tenants)
        self._connecting = asyncio.Semaphore(CONNECTING)

    async def gather(self) -> None:
        """Connect all clients, 50 at a time, and keep them connected until canceled."""
        kinds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (POLLS, self._poll),
            (STREAMS, self._stream),
            (SLOW_READERS, self._read_slowly),
            (SILENT_UPLOADS, self._upload_silently),
            (SILENT_HEADERS, self._send_no_headers),
        ]
        clients = [self._again(client) for count, client in kinds for _ in range(count)]
        await asyncio.gather(self._again(self._chat_and_hang_up), *clients)

    async def _again(self, client: Callable[[], Awaitable[None]]) -> None:
        """Run a client again whenever the server closes its connection."""
        while True:
            try:
                await client()
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(1)

    async def _open(
        self, head: str, tenant: Tenant, body: bytes = b"", *, buffer: int | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with self._connecting:
            connection = socket.socket()
            if buffer is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, (self._host, self._port))
            reader, writer = await asyncio.open_connection(sock=connection, limit=buffer or 65536)
            lines = [head, "Host: localhost", f"Authorization: Bearer {tenant.key}", "", ""]
            writer.write("\r\n".join(lines).encode() + body)
            await writer.drain()
        return reader, writer

    async def _poll(self) -> None:
        tenant = next(self._tenants)
        reader, writer = await self._open(f"GET /api/v1/jobs/{tenant.job}?wait=25 HTTP/1.1", tenant)
        await reader.read(65536)
        writer.close()

    async def _stream(self) -> None:
        tenant = next(self._tenants)
        reader, _ = await self._open("GET /api/v1/events HTTP/1.1", tenant)
        while await reader.read(65536):
            pass

    async def _read_slowly(self) -> None:
        tenant = next(self._tenants)
        reader, _ = await self._open(f"GET /api/v1/bulks/{tenant.bulk}/results HTTP/1.1", tenant, buffer=4096)
        while await reader.read(1000):  # noqa: ASYNC110 - this client is slow on purpose
            await asyncio.sleep(1)

    async def _upload_silently(self) -> None:
        head = "POST /api/v1/bulks HTTP/1.1\r\nContent-Type: application/jsonl\r\nContent-Length: 90000"
        reader, writer = await self._open(head, next(self._tenants), b'{"prompt": "x"}\n')
        await reader.read(65536)
        writer.close()

    async def _send_no_headers(self) -> None:
        async with self._connecting:
            reader, writer = await asyncio.open_connection(self._host, self._port)
        writer.write(b"GET / HTTP/1.1\r\nHost: loc")
        await reader.read(65536)
        writer.close()
        await asyncio.sleep(1)

    async def _chat_and_hang_up(self) -> None:
        body = json.dumps({"messages": [{"role": "user", "content": "a cat"}]}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        _, writer = await self._open(head, next(self._tenants), body)
        await asyncio.sleep(1 / HUNG_UP_CHATS_PER_SECOND)
        writer.close()


def main(url: str, tenants: str) -> None:
    """Run until the process is killed."""
    asyncio.run(Crowd(url, [Tenant(**each) for each in json.loads(tenants)]).gather())


if __name__ == "__main__":
    main(*sys.argv[1:])
