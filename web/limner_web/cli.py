"""The web's command: `limner serve`."""

from __future__ import annotations

from typing import Any

import click
from gunicorn.app.base import BaseApplication

from limner_shared.database import require_current
from limner_shared.settings import Settings
from limner_shared.telemetry import configure_logging


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
    require_current(settings.resolved_database_url)
    keys = "API keys are required" if settings.keys_required else "open: no API keys, loopback only"
    click.echo(f"Limner on http://{settings.host}:{settings.port} ({keys})", err=True)
    Server(settings).run()
