"""The keys of a bucket are replaced while all processes draw into it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from limner_client.local.embedded_valkey import free_port
from limner_shared.db.schema import upgrade
from limner_shared.domain.jobs import JobState
from tests.processes import Service, eventually
from tests.stores.programs import Server
from tests.stores.seaweedfs import KEYS, allow

pytestmark = pytest.mark.long

NEXT = {"AWS_ACCESS_KEY_ID": "limner-next", "AWS_SECRET_ACCESS_KEY": "the-next-secret"}


def accepts(keys: dict[str, str]) -> bool:
    names = {"access_key_id": "AWS_ACCESS_KEY_ID", "secret_access_key": "AWS_SECRET_ACCESS_KEY"}
    own = {option: keys[variable] for option, variable in names.items()}
    try:
        S3Store("pictures", client_options={"allow_http": True}, **own).put("probe", b"probe")  # type: ignore[arg-type]
    except BaseError:
        return False
    return True


def test_the_keys_of_a_bucket_are_replaced_and_every_picture_is_stored(
    seaweedfs: Server, start_service: Callable[..., Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database_url = f"sqlite:///{tmp_path / 'limner.db'}"
    upgrade(database_url)
    service = start_service(blob_url="s3://pictures/limner", database_url=database_url, port=free_port())

    def let_in(*allowed: dict[str, str]) -> None:
        (tmp_path / "s3.json").write_text(json.dumps(allow(*allowed)))
        seaweedfs.process.send_signal(signal.SIGHUP)
        eventually(lambda: [accepts(keys) for keys in (KEYS, NEXT)] == [keys in allowed for keys in (KEYS, NEXT)], 60)

    service.start("dispatcher")
    [old] = service.start_workers()
    jobs = service.submit(4)
    service.wait(jobs)
    let_in(KEYS, NEXT)
    jobs += service.submit(4)
    for name, value in NEXT.items():
        monkeypatch.setenv(name, value)
    service.start_workers()
    old.send_signal(signal.SIGTERM)
    assert old.wait(60) == 0
    let_in(NEXT)
    jobs += service.submit(4)
    assert {job.state for job in service.wait(jobs)} == {JobState.SUCCEEDED}, service.logs()
