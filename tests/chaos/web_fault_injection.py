"""Runs a web server with an injected fault: `python -m tests.chaos.web_fault_injection freeze COUNT serve`.

Its web worker stops within its COUNTth write. The fault is installed in that process, after gevent has patched Python:
the main process must not import psycopg (`limner_web.cli`), and so nothing that `fault_injection` imports.
"""

from __future__ import annotations

import sys
from typing import Any

from limner_client.cli import main as command_line
from limner_web.cli import Server


def main() -> None:
    """Install the fault, then run the command line."""
    count, load = int(sys.argv[2]), Server.load

    def load_with_fault(self: Server) -> Any:
        from tests.chaos.freezing import freeze_in_a_write  # noqa: PLC0415 - not before gevent's patches

        app = load(self)
        freeze_in_a_write(count)
        return app

    Server.load = load_with_fault
    sys.argv = ["limner", *sys.argv[3:]]
    command_line.main()


if __name__ == "__main__":
    main()
