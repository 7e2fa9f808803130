"""Runs the command line and writes each statement that its process sends to SQLite, once, to the file in STATEMENTS."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from bench.statements import Statement
from sqlalchemy import Connection, Engine, event

from limner_client.cli import main as command_line

VARIABLE = "STATEMENTS"
KINDS = ("SELECT", "WITH", "UPDATE", "DELETE")


def read_statements(file: Path) -> dict[str, Statement]:
    """The statements that processes have written."""
    lines = [json.loads(line, object_hook=_as_bytes) for line in file.read_text().splitlines()]
    return {sql: Statement(sql, tuple(parameters)) for sql, parameters in lines}


def _as_bytes(value: dict[str, Any]) -> Any:
    return bytes.fromhex(value["hex"]) if value.keys() == {"hex"} else value


def _as_hex(value: bytes) -> dict[str, str]:
    return {"hex": bytes(value).hex()}


def main() -> None:
    """Record, and run the command."""
    seen = set[str]()
    file = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(_connection: Connection, _cursor: Any, sql: str, parameters: Any, _context: Any, many: bool) -> None:
        if sql not in seen and sql.lstrip().upper().startswith(KINDS):
            seen.add(sql)
            one = parameters[0] if many else parameters
            os.write(file, json.dumps([sql, list(one)], default=_as_hex).encode() + b"\n")

    event.listen(Engine, "before_cursor_execute", note)
    command_line.main()


if __name__ == "__main__":
    main()
