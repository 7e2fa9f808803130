"""Runs a web server with an injected fault: `python -m tests.chaos.web_fault_injection FAULT VALUE serve`.

FAULT is `freeze`: its web worker stops within its VALUEth write; or `clock`: its clock is ahead by as many seconds as
the file VALUE says, because `time.sleep` of gunicorn's main process fails with EINVAL under libfaketime.

The fault is installed in the process that serves, after gevent has patched Python: the main process must not import
psycopg (`limner_web.cli`), and so nothing that `fault_injection` imports.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from limner_client.cli import main as command_line
from limner_web.cli import Server


def follow_the_clock(offset: Path) -> None:
    """Set this process's clock ahead by what a file says now, in seconds; the database's clock stays correct."""
    right = time.time
    time.time = lambda: right() + float(offset.read_text() or 0)


def main() -> None:
    """Install the fault, then run the command line."""
    fault, value, load = sys.argv[1], sys.argv[2], Server.load

    def load_with_fault(self: Server) -> Any:
        from tests.chaos.freezing import freeze_in_a_write  # noqa: PLC0415 - not before gevent's patches

        app = load(self)
        if fault == "clock":
            follow_the_clock(Path(value))
        else:
            freeze_in_a_write(int(value))
        return app

    Server.load = load_with_fault
    sys.argv = ["limner", *sys.argv[3:]]
    command_line.main()


if __name__ == "__main__":
    main()
