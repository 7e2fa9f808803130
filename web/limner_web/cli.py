"""The web's command: `limner serve`."""

from __future__ import annotations

import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final

import click
from gunicorn.app.base import BaseApplication

from limner_shared.db.engine import require_current
from limner_shared.settings import Settings
from limner_shared.telemetry import configure_logging

SPARE_CONNECTIONS: Final = 1000
"""Beyond those that are taken on: to be refused, or asked whether the process is well."""


class Server(BaseApplication):
    """Gunicorn with gevent workers: thousands of long polls and streams a process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Take everything from our settings, nothing from gunicorn's own files and variables."""
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        options: dict[str, Any] = {
            "bind": f"{host}:{self._settings.port}",
            "workers": self._settings.web_workers,
            "worker_class": "gevent",
            "worker_connections": _connections(self._settings),
            "graceful_timeout": 5,
            "timeout": 60,
            "proc_name": "limner-web",
            "loglevel": "warning",
            "control_socket_disable": True,
        }
        for name, value in options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        """Build the application, in the worker process, after gevent has patched the standard library."""
        from limner_web.app import create_app  # noqa: PLC0415 - not before gevent's patches

        configure_logging(self._settings, "web")
        return create_app(self._settings)


@click.command()
def serve() -> None:
    """Serve the API and the page."""
    settings = Settings()
    _require_current(settings.resolved_database_url)
    _allow_files(_connections(settings))
    keys = "API keys are required" if settings.keys_required else "open: no API keys, loopback only"
    click.echo(f"Limner on http://{settings.host}:{settings.port} ({keys})", err=True)
    Server(settings).run()


def _connections(settings: Settings) -> int:
    """How many connections one process accepts."""
    return settings.max_requests + settings.max_streams + settings.max_bulks + SPARE_CONNECTIONS


def _require_current(database_url: str) -> None:
    """Check the schema in a process of its own. Raises ConfigurationError.

    psycopg chooses when it is imported how to wait, and waits as gevent needs it only if gevent has patched Python
    before: so this process, whose children the web processes are, must not import it.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as apart:
        apart.submit(require_current, database_url).result()


def _allow_files(connections: int) -> None:
    """Raise the limit of open files, which is often 1024, as far as the system lets us: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit), hard))
