"""The command `limner serve`, which runs the web service."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import click
from gunicorn.app.base import BaseApplication
from sqlalchemy.exc import DBAPIError

from limner_shared import trace_export
from limner_shared.db import ledger
from limner_shared.db.engine import Database, describe
from limner_shared.db.schema import require_current
from limner_shared.errors import ConfigurationError
from limner_shared.metrics.exposition import configure, share_values
from limner_shared.operator_port import address_of
from limner_shared.python_gc import collect_and_freeze
from limner_shared.settings import Settings
from limner_shared.telemetry import configure_logging, get_logger
from limner_web.limits import MAX_LINE_BYTES, max_connections

if TYPE_CHECKING:
    from limner_web.services import Services

log = get_logger(__name__)


class Server(BaseApplication):
    """Gunicorn with gevent workers, so that one process serves thousands of long polls and streams."""

    def __init__(self, settings: Settings, process_ended: Callable[[int], None]) -> None:
        """`process_ended` is called with the number of each web process that has ended."""
        self._settings = settings
        self._services: Services | None = None
        """The application's, in the process that serves it."""
        self._process_ended = process_ended
        super().__init__()

    def load_config(self) -> None:
        """Configure gunicorn from our settings alone, not from its own files and environment variables."""

        def when_ready(server: Any) -> None:
            for address in _operator_addresses(self._settings, server.LISTENERS):
                log.info("metrics are served", address=address)

        def post_worker_init(worker: Any) -> None:
            if self._services is not None:
                self._services.shutdown.follow(worker)
                _report_operator_address(self._services, worker.sockets)

        def worker_exit(_server: Any, _worker: Any) -> None:
            trace_export.close()

        def child_exit(_server: Any, worker: Any) -> None:
            self._process_ended(worker.pid)

        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        options: dict[str, Any] = {
            "bind": [f"{host}:{self._settings.port}", *self._operator_address()],
            "workers": self._settings.web_workers,
            "worker_class": "limner_web.serving.gunicorn_worker.ConnectionWorker",
            "limit_request_line": MAX_LINE_BYTES,
            "limit_request_field_size": MAX_LINE_BYTES,
            "worker_connections": max_connections(self._settings),
            "graceful_timeout": self._settings.web_shutdown_seconds,
            "timeout": 60,
            "proc_name": "limner-web",
            "loglevel": "warning",
            "control_socket_disable": True,
            "when_ready": when_ready,
            "post_worker_init": post_worker_init,
            "worker_exit": worker_exit,
            "child_exit": child_exit,
        }
        for name, value in options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def _operator_address(self) -> list[str]:
        if not self._settings.metrics:
            return []
        host = f"[{self._settings.metrics_host}]" if ":" in self._settings.metrics_host else self._settings.metrics_host
        return [f"{host}:{self._settings.metrics_port}"]

    def load(self) -> Any:
        """Build the application in the worker process, after gevent has patched the standard library."""
        from limner_web.app import create_app  # noqa: PLC0415 - not before gevent's patches
        from limner_web.openai.batch_loader import BatchLoader  # noqa: PLC0415
        from limner_web.serving.stalls import StallWatch  # noqa: PLC0415

        configure_logging(self._settings, "web")
        trace_export.configure(self._settings, "web")
        app = create_app(self._settings)
        self._services = services = app.extensions["limner"]
        BatchLoader(services).start()
        StallWatch(services.supervisor, services.probe).start()
        collect_and_freeze()
        return app


@click.command()
def serve() -> None:
    """Serve the HTTP API and the pages."""
    settings = Settings()
    _require_usable(settings)
    if settings.metrics and settings.metrics_port == settings.port:
        raise ConfigurationError("LIMNER_METRICS_PORT must differ from LIMNER_PORT.")
    configure_logging(settings, "web")
    _raise_file_limit(max_connections(settings))
    ended = share_values()
    configure(settings, "web")
    keys = "API keys are required" if settings.keys_required else "open: no API keys, loopback only"
    click.echo(f"Limner on http://{settings.host}:{settings.port} ({keys})", err=True)
    Server(settings, ended).run()


def _operator_addresses(settings: Settings, listeners: Sequence[Any]) -> Iterator[str]:
    """Where the metrics are, if anywhere: the port may have been chosen by the system."""
    for listener in listeners[1:]:
        yield address_of(settings, listener.getsockname()[1])


def _report_operator_address(services: Services, listeners: Sequence[Any]) -> None:
    from limner_web.serving.own_report import OwnReport  # noqa: PLC0415 - not before gevent's patches

    for address in _operator_addresses(services.settings, listeners):
        OwnReport(services.hints.redis, services.supervisor, address).start()


def _require_usable(settings: Settings) -> None:
    """Check in a child process that database and Redis can be used as they are configured, and create the tenant of
    this machine's own pages. Raises ConfigurationError.

    psycopg decides at import how it waits, and cooperates with gevent only if gevent has patched Python before. The web
    processes are forked from this process, so this process must not import psycopg.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as executor:
        executor.submit(_check, settings).result()


def _check(settings: Settings) -> None:
    from limner_shared.messaging.redis_servers import require_usable  # noqa: PLC0415 - imports ssl, as psycopg above

    require_current(settings.resolved_database_url, settings.database_direct_url)
    require_usable(settings.redis_url)
    database = Database.of(settings)
    try:
        with database.write() as session:
            ledger.ensure_tenant(session, ledger.LOCAL_TENANT, ledger.LOCAL_NAME)
    except DBAPIError as error:
        raise ConfigurationError(f"The database cannot be written: {describe(error)}.") from error
    finally:
        database.dispose()


def _raise_file_limit(connections: int) -> None:
    """Raise the limit of open files, often 1024, as far as the system allows: each connection needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit), hard))
