"""Runs the command line with web processes in which the first message on the channel of hints is never handled."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

from limner_client.cli import main as command_line
from limner_web.cli import Server

UNIT_SECONDS = 1.0
ALIVE_SECONDS = 2.0


def hang_once(folder: Path) -> None:
    """Let the first process that handles a message hang; the one that replaces it does not."""
    from limner_web.serving import stalls  # noqa: PLC0415 - not before gevent's patches
    from limner_web.updates import listener  # noqa: PLC0415

    stalls.ALIVE_SECONDS = ALIVE_SECONDS
    listener.UNIT_SECONDS = UNIT_SECONDS
    read, mark = listener.Listener._read, folder / "has-hung"

    def hang(self: Any, data: bytes) -> None:
        if not mark.exists():
            mark.touch()
            threading.Event().wait()
        read(self, data)

    listener.Listener._read = cast("Any", hang)


def main() -> None:
    """Change each web process, then run the command line."""
    load = cast("Any", Server.load)

    def load_and_change(self: Any) -> Any:
        hang_once(self._settings.data_dir)
        return load(self)

    Server.load = load_and_change
    command_line.main()


if __name__ == "__main__":
    main()
