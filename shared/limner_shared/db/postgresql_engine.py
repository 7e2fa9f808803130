"""Engines for PostgreSQL: the time limits of connections, several servers in one URL, and poolers.

A pooler in transaction mode (PgBouncer) gives a client another session for each transaction. What belongs to a session
is lost there: startup options, prepared statements, LISTEN, advisory locks. So the time limits are set in each
transaction, no statement is prepared, and what needs a session connects directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from limner_shared.errors import ConfigurationError

# The time limits of all connections to PostgreSQL except those of migrations. A transaction is a few short statements,
# so a longer one is stuck. Waits for locks and idle transactions are ended before a lease (9 s) is, so that a process
# that freezes in a transaction blocks others for less time than a crash would. Settings in the database's URL take
# precedence.
CONNECT_SECONDS: Final = 5
LOCK_SECONDS: Final = 4
"""How long a statement waits for a lock of another transaction."""
IDLE_SECONDS: Final = 6
"""The server ends a session that is idle in a transaction for this long: its process is frozen."""
STATEMENT_SECONDS: Final = 30
SILENT_SECONDS: Final = 15
"""A peer that acknowledges nothing for this long is gone: both sides close the connection."""
KEEPALIVE_SECONDS: Final = 5
TRANSACTION_LIMITS: Final = {
    "lock_timeout": LOCK_SECONDS * 1000,
    "idle_in_transaction_session_timeout": IDLE_SECONDS * 1000,
    "statement_timeout": STATEMENT_SECONDS * 1000,
}
"""Limits on the server, by PostgreSQL's names of settings."""
PLANNING: Final = {"random_page_cost": 1.1}
"""What a page costs that an index leads to, compared with the next page of a scan: the value for SSDs and cached pages.
With the server's default of 4, meant for hard disks, statements with 500 ids scan tables of hundreds of thousands of
rows.
"""
CONNECTION_LIMITS: Final = {
    "tcp_user_timeout": SILENT_SECONDS * 1000,
    "tcp_keepalives_idle": KEEPALIVE_SECONDS,
    "tcp_keepalives_interval": KEEPALIVE_SECONDS,
    "tcp_keepalives_count": SILENT_SECONDS // KEEPALIVE_SECONDS,
}
"""Limits on the server that concern the connection itself; behind a pooler it is the pooler's."""
CLIENT_LIMITS: Final = {
    "connect_timeout": CONNECT_SECONDS,
    "tcp_user_timeout": SILENT_SECONDS * 1000,
    "keepalives_idle": KEEPALIVE_SECONDS,
    "keepalives_interval": KEEPALIVE_SECONDS,
    "keepalives_count": SILENT_SECONDS // KEEPALIVE_SECONDS,
}
"""Limits in the client, by libpq's names of parameters."""
SESSION_MARK: Final = "limner.session"
"""A setting that each connection gives its session at the start: where it is missing, a pooler dropped it."""
READ_ONLY: Final = "25006"
DRIVER: Final = "postgresql+psycopg"
BAD_URL: Final = (
    "The database's URL cannot be read: write it as postgresql://user:password@host:port/name, with special characters "
    "of the password quoted, such as %40 for @."
)


def parse(url: str) -> URL:
    """A database's URL as SQLAlchemy reads it. Several servers are written as libpq does, `host:port,host:port`. Texts
    are UTF-8, also in a database without an encoding (SQL_ASCII, of a cluster that was made without a locale).

    Raises ConfigurationError, which does not show the URL: it has a password.
    """
    try:
        parsed = make_url(_with_hosts_in_query(url))
    except (ValueError, ArgumentError) as error:
        raise ConfigurationError(BAD_URL) from error
    if parsed.drivername == "sqlite":
        return parsed
    if parsed.drivername not in ("postgresql", "postgres", DRIVER):
        raise ConfigurationError(BAD_URL)
    return parsed.set(drivername=DRIVER, query={"client_encoding": "utf8", **parsed.query})


def libpq_parameters(url: URL) -> dict[str, str]:
    """The parameters of a connection, by libpq's names."""
    _, parameters = url.get_dialect()().create_connect_args(url)
    return {name: str(value) for name, value in parameters.items()}


def unlimited_engine(url: URL) -> Engine:
    """An engine whose connections have no time limits, for work that takes as long as it takes."""
    return _checked(create_engine(url, pool_pre_ping=True, hide_parameters=True))


def session_engine(url: URL) -> Engine:
    """An engine whose connections are sessions of the server; startup options set limits and costs."""
    settings = {**TRANSACTION_LIMITS, **PLANNING, **CONNECTION_LIMITS, SESSION_MARK: "on"}
    own = url.query.get("options", "")
    options = " ".join([*(f"-c {name}={value}" for name, value in settings.items()), str(own)])
    arguments = {**_client_limits(url), "options": options.strip()}
    return _checked(create_engine(url, pool_pre_ping=True, hide_parameters=True, connect_args=arguments))


def pooled_engine(url: URL) -> Engine:
    """An engine whose connections lead to a pooler in transaction mode; each transaction sets limits and costs."""
    arguments = {**_client_limits(url), "prepare_threshold": None}
    engine = create_engine(url, pool_pre_ping=True, hide_parameters=True, connect_args=arguments)
    return _checked(_setting_in_transactions(engine, {**TRANSACTION_LIMITS, **PLANNING}))


def probe_engine(url: URL, seconds: int) -> Engine:
    """An engine for checks of a database or a pooler: each has a connection of its own, and each of its steps ends
    after some seconds, even if the server is frozen or a migration has locked the table.
    """
    limits = {"connect_timeout": seconds, "tcp_user_timeout": seconds * 1000, "prepare_threshold": None}
    engine = create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=_client_limits(url) | limits)
    return _setting_in_transactions(engine, {"lock_timeout": seconds * 1000, "statement_timeout": seconds * 1000})


def _setting_in_transactions(engine: Engine, settings: Mapping[str, float]) -> Engine:
    """Change these settings at the begin of each transaction: behind a pooler a session keeps none."""
    # One message, so that a transaction costs no more round trips than with a session.
    begin = "; ".join(["BEGIN", *(f"SET LOCAL {name} = {value}" for name, value in settings.items())])

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: ConnectionPoolEntry) -> None:
        connection.autocommit = True  # the driver must not begin transactions

    @event.listens_for(engine, "begin")
    def begin_with_settings(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _client_limits(url: URL) -> dict[str, Any]:
    return {name: value for name, value in CLIENT_LIMITS.items() if name not in url.query}


def _checked(engine: Engine) -> Engine:
    """Give up the connections to a server that has become read-only: another one has taken over from it."""

    @event.listens_for(engine, "handle_error")
    def give_up(context: ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
            context.is_disconnect = True

    return engine


def _with_hosts_in_query(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, servers = authority.rpartition("@")
    if "," not in servers or not scheme.startswith("postgres"):
        return url
    pairs = [_host_and_port(server) for server in servers.split(",")]
    hosts, ports = (",".join(part) for part in zip(*pairs, strict=True))
    joined = "&" if "?" in path else "?"
    return f"{scheme}{separator}{user}{at}{slash or '/'}{path}{joined}host={hosts}&port={ports}"


def _host_and_port(server: str) -> tuple[str, str]:
    if server.startswith("["):  # an IPv6 address
        host, _, port = server[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = server.partition(":")
    return host, port
