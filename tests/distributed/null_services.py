"""A service with a null model and its own Redis, and the checks of what it did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import oracle
from tests.chaos.servers import RedisServer
from tests.processes import Service

SHORT_LEASES = {"lease_seconds": 3.0, "heartbeat_seconds": 0.5}
CARD = Path(__file__).parents[1] / "models" / "null.toml"

sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis server for this test only, which the test can break."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def null_service(service: Service, redis_server: RedisServer) -> Service:
    """The service with the null model, and with short leases so that tests do not wait long for them to expire."""
    changes = {"models": (CARD,), "default_model": "null", "redis_url": redis_server.url}
    service.change_settings(changes | SHORT_LEASES)
    return service


def assert_all_correct(service: Service, ids: list[str], seconds: float = 40) -> None:
    try:
        service.wait(ids, seconds)
    except AssertionError as error:
        raise AssertionError(
            f"{error}: {[(job.state, job.lane) for job in service.jobs(ids)]}\n{service.logs()}"
        ) from error
    assert oracle.violations(service.database, service.settings, set(ids)) == [], service.logs()
