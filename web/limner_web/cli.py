"""The command `limner serve`, which runs the web service."""

from __future__ import annotations

import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import click
from gunicorn.app.base import BaseApplication

from limner_shared.db.engine import require_current
from limner_shared.settings import Settings
from limner_shared.telemetry import configure_logging
from limner_web.limits import max_connections


class Server(BaseApplication):
    """Gunicorn with gevent workers, so that one process serves thousands of long polls and streams."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Configure gunicorn from our settings alone, not from its own files and environment variables."""
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        options: dict[str, Any] = {
            "bind": f"{host}:{self._settings.port}",
            "workers": self._settings.web_workers,
            "worker_class": "gevent",
            "worker_connections": max_connections(self._settings),
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
        """Build the application in the worker process, after gevent has patched the standard library."""
        from limner_web.app import create_app  # noqa: PLC0415 - not before gevent's patches

        configure_logging(self._settings, "web")
        return create_app(self._settings)


@click.command()
def serve() -> None:
    """Serve the HTTP API and the pages."""
    settings = Settings()
    _require_current(settings.resolved_database_url)
    _raise_file_limit(max_connections(settings))
    keys = "API keys are required" if settings.keys_required else "open: no API keys, loopback only"
    click.echo(f"Limner on http://{settings.host}:{settings.port} ({keys})", err=True)
    Server(settings).run()


def _require_current(database_url: str) -> None:
    """Check in a child process that the database schema is current. Raises ConfigurationError.

    psycopg decides at import how it waits, and cooperates with gevent only if gevent has patched Python before. The web
    processes are forked from this process, so this process must not import psycopg.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as executor:
        executor.submit(require_current, database_url).result()


def _raise_file_limit(connections: int) -> None:
    """Raise the limit of open files, often 1024, as far as the system allows: each connection needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit), hard))
