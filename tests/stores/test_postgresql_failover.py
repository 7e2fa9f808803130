"""Two PostgreSQL servers in one URL: one takes over while the service works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from limner_shared.db.schema import upgrade
from tests.processes import Service
from tests.stores.failover import assert_survives
from tests.stores.postgresql import QUOTED, USER, Postgres, standby_of

pytestmark = pytest.mark.long


def test_all_processes_go_on_with_the_promoted_server_and_nothing_accepted_is_lost(
    server_folder: Path, start_service: Callable[..., Service]
):
    primary = Postgres(server_folder / "primary")
    primary.create()
    standby = standby_of(primary, server_folder / "standby")
    servers = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
    url = f"postgresql://{USER}:{QUOTED}@{servers}/limner?target_session_attrs=read-write"
    try:
        upgrade(url)
        service = start_service(database_url=url)

        def fail_over() -> None:
            primary.kill()
            standby.run("pg_ctl", "promote")

        assert_survives(service, fail_over)
    finally:
        standby.kill()
        primary.kill()
