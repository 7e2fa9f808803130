"""While the database or the picture store is full or away, every POST that makes something says so, and makes nothing;
the same request is answered once they are back.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from sqlalchemy import event

from limner_shared.errors import StorageFailed, StorageFull
from limner_shared.storage.object_store import Store
from tests.api.repeated_posts import MAKING, World
from tests.api.test_repeated_posts import world

__all__ = ["world"]
pytestmark = [pytest.mark.long, pytest.mark.parametrize("world", ["sqlite"], indirect=True)]
SENDS_PICTURES: Final = {
    "/v1/images/edits",
    "/v1/images/variations",
    "/v1/files",
    "/replicate/v1/files",
    "/sdapi/v1/img2img",
}


def is_worker() -> bool:
    """Whether this thread acts as the worker, which goes on."""
    return threading.current_thread().name.endswith("(run)")


@contextmanager
def refusing_writes(world: World, code: int) -> Iterator[None]:
    """Each write of the web processes fails as SQLite does for this code."""
    refuses = [True]

    def execute(_cursor: object, statement: str, *_: object) -> None:
        if refuses and not is_worker() and statement.startswith(("INSERT", "UPDATE", "DELETE")):
            error = sqlite3.OperationalError("refused by a test")
            error.sqlite_errorcode = code
            raise error

    for app in (world.app, world.protected):
        event.listen(app.extensions["limner"].database.engine, "do_execute", execute)
    yield
    refuses.clear()  # another thread may be calling the listener, so it stays


@pytest.mark.parametrize(("code", "status"), [(sqlite3.SQLITE_FULL, 507), (sqlite3.SQLITE_IOERR, 503)])
@pytest.mark.parametrize("route", sorted(MAKING))
def test_a_database_that_takes_nothing_is_told_and_the_request_works_later(
    world: World, route: str, code: int, status: int
):
    send, key = MAKING[route].prepare(world), {"Idempotency-Key": f"{route} {code}"}
    with refusing_writes(world, code):
        refused = send(key)
    assert refused.status_code == status, refused.data[:500]
    assert send(key).status_code < 300


@pytest.mark.parametrize("failure", [StorageFull, StorageFailed])
@pytest.mark.parametrize("route", sorted(SENDS_PICTURES))
def test_a_picture_store_that_takes_nothing_is_told_and_the_request_works_later(
    world: World, route: str, failure: type[StorageFull | StorageFailed], monkeypatch: pytest.MonkeyPatch
):
    put_all = Store.put_all

    def refuse(self: Store, *arguments: Any, **options: Any) -> None:
        if not is_worker():
            raise failure
        put_all(self, *arguments, **options)

    send, key = MAKING[route].prepare(world), {"Idempotency-Key": f"{route} {failure.code}"}
    with monkeypatch.context() as patch:
        patch.setattr(Store, "put_all", refuse)
        refused = send(key)
    assert refused.status_code == failure.status, refused.data[:500]
    assert send(key).status_code < 300
