"""The web server of `bench.polling`: Limner's own, with an empty Flask view beside it at `/empty`.

    python -m bench.polling_server

The view belongs to an application of its own, so that it has none of Limner's checks and headers.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

from limner_shared.settings import Settings
from limner_web.cli import Server

Start = Callable[..., Any]


class BesideAnEmptyView(Server):
    """Limner's server, which passes `/empty` to another application."""

    def load(self) -> Any:
        """Build both applications in the web process."""
        limner, empty = super().load(), Flask("empty")
        empty.add_url_rule("/empty", view_func=lambda: "")

        def both(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
            return empty(environ, start) if environ["PATH_INFO"] == "/empty" else limner(environ, start)

        return both


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    BesideAnEmptyView(Settings(), lambda _process: None).run()
