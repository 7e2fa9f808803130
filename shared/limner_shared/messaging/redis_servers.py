"""Connections to Redis by URL: one server, with or without TLS, or the master that Sentinels name.

`redis://`, `rediss://` (TLS) and `unix://` are redis-py's. Sentinels are written as
`redis+sentinel://user:password@sentinel:26379,other:26379/MASTER/0`; with `rediss+sentinel://` both they and the
servers use TLS. `sentinel_username` and `sentinel_password` in the query are for the Sentinels alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit, urlunsplit

from redis import ConnectionPool, connection
from redis.exceptions import (
    ClusterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from limner_shared.errors import ConfigurationError

SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
SENTINEL_PORT: Final = 26379
FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
"""Options that name a file."""
BAD_URL: Final = (
    "LIMNER_REDIS_URL cannot be used: {}. Write it as redis://user:password@host:port/0, as rediss://… for TLS, or as "
    "redis+sentinel://user:password@sentinel:26379,other:26379/MASTER/0."
)

REFUSALS: Final = (ReadOnlyError, OutOfMemoryError, ClusterDownError)
"""Answers of a server that takes no writes, or nothing: ClusterDownError includes that of a replica without master."""
REFUSING_WORDS: Final = frozenset({"BUSY", "MISCONF", "NOREPLICAS", "UNBLOCKED"})
"""First words of such answers that redis-py has no class for."""

ConnectionClass = type[Any]


class RedisRefuses(RedisConnectionError):
    """The server answers, and takes no commands, or no writes."""


def same(connection_class: ConnectionClass) -> ConnectionClass:
    """Return the class unchanged."""
    return connection_class


def connection_pool(
    url: str, wrapped: Callable[[ConnectionClass], ConnectionClass] = same, **options: Any
) -> ConnectionPool:
    """A pool of connections to the Redis of a URL, which has precedence over `options`.

    `wrapped` is called with the class of the connections, and returns the one to use. Raises ConfigurationError with
    what is wrong with the URL, which it does not show: the URL has a password.
    """
    scheme = urlsplit(url).scheme
    if scheme not in SCHEMES:
        raise ConfigurationError(BAD_URL.format("it begins with none of redis://, rediss:// and redis+sentinel://"))
    try:
        pool = _sentinel_pool(url, wrapped, options) if scheme.endswith("+sentinel") else _pool(url, wrapped, options)
        pool.connection_class(**pool.connection_kwargs)  # does not connect; refuses unknown options
    except (TypeError, ValueError) as error:
        raise ConfigurationError(BAD_URL.format(str(error).rstrip("."))) from error
    for name in FILES:
        file = pool.connection_kwargs.get(name)
        if file and not Path(file).is_file():
            raise ConfigurationError(BAD_URL.format(f"there is no file {file} for {name}"))
    return pool


def refuses_everyone(error: ResponseError) -> bool:
    """Whether an error is the server's state and not the fault of one command or key."""
    return isinstance(error, REFUSALS) or str(error).partition(" ")[0] in REFUSING_WORDS


def require_usable(url: str) -> None:
    """Check a URL without connecting. Raises ConfigurationError."""
    connection_pool(url)


def address(url: str) -> str:
    """The first server of a URL, for logs: without user and password."""
    servers = urlsplit(url).netloc.rpartition("@")[2]
    return servers.partition(",")[0] or "localhost"


def _pool(url: str, wrapped: Callable[[ConnectionClass], ConnectionClass], options: dict[str, Any]) -> ConnectionPool:
    given = options | _options(url)
    given["connection_class"] = wrapped(_leaving(given.get("connection_class", connection.Connection)))
    return ConnectionPool(**given)


def _sentinel_pool(
    url: str, wrapped: Callable[[ConnectionClass], ConnectionClass], options: dict[str, Any]
) -> SentinelConnectionPool:
    parts = urlsplit(url)
    user, at, servers = parts.netloc.rpartition("@")
    _, master, *database = parts.path.split("/") if parts.path else ("", "")
    if not master:
        raise ValueError("the name of the master is missing after the Sentinels")
    scheme = parts.scheme.removesuffix("+sentinel")
    path = f"/{_number(database[0])}" if database and database[0] else ""
    server = urlunsplit((scheme, f"{user}{at}localhost", path, parts.query, ""))
    given = _options(server)
    given.pop("host")
    secure = given.pop("connection_class", None) is not None
    own = {name: given.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    shared = {name: value for name, value in given.items() if name.startswith("ssl_")}
    timeouts = {name: value for name, value in (options | given).items() if name.startswith("socket_")}
    sentinels = Sentinel(
        [_host_and_port(server) for server in servers.split(",")],
        sentinel_kwargs=shared | timeouts | {"ssl": secure} | {name: value for name, value in own.items() if value},
    )
    kind = SentinelManagedSSLConnection if secure else SentinelManagedConnection
    return SentinelConnectionPool(master, sentinels, connection_class=wrapped(_leaving(kind)), **options | given)


def _leaving(kind: ConnectionClass) -> ConnectionClass:
    """A class of connections that close when their server refuses everyone, as if it were away.

    After a failover the old master still answers, but takes no writes: only a new connection finds the new master. A
    server that refuses for another reason is then treated as every other outage.
    """

    class Leaving(kind):
        def read_response(self, *args: Any, **options: Any) -> Any:
            try:
                return kind.read_response(self, *args, **options)
            except ResponseError as error:
                if not refuses_everyone(error):
                    raise
                self.disconnect()
                raise RedisRefuses(f"Redis refuses commands: {error}") from error

    return Leaving


def _options(url: str) -> dict[str, Any]:
    """What redis-py reads in a URL, by the names of a connection's parameters. Raises ValueError."""
    return cast("dict[str, Any]", cast("Any", connection).parse_url(url))


def _host_and_port(server: str) -> tuple[str, int]:
    parts = urlsplit(f"//{server}")
    if not parts.hostname:
        raise ValueError("a Sentinel has no host name")
    return parts.hostname, parts.port or SENTINEL_PORT


def _number(database: str) -> int:
    if not database.isdecimal():
        raise ValueError("what follows the master's name is not the number of a database")
    return int(database)
