"""A process that stops within a write, while it holds the row locks of that write."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from limner_shared.db.engine import Database


def freeze_in_a_write(count: int) -> None:
    """Stop this process within its `count`th write from now on, before the commit."""
    write = Database.write
    writes = 0

    @contextmanager
    def frozen(self: Database) -> Iterator[Session]:
        nonlocal writes
        with write(self) as session:
            yield session
            writes += 1
            if writes == count:
                os.kill(os.getpid(), signal.SIGSTOP)

    Database.write = frozen
