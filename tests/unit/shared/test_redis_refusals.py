"""A Redis that answers, but refuses commands: clients treat it as one that is away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, ResponseError
from tests.chaos.servers import RedisServer

from limner_shared.messaging.hints import connect


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    built = RedisServer(tmp_path_factory.mktemp("redis"))
    yield built
    built.stop()


def connection_of(client: Any) -> int:
    """The server's number of the client's connection."""
    return client.client_id()


@pytest.mark.parametrize("because_of", ["a replica", "too few replicas", "a full memory"])
def test_a_client_connects_again_after_a_server_refused_everyone(server: RedisServer, because_of: str):
    with connect(server.url) as client:
        before = connection_of(client)
        with server.refusing(because_of), pytest.raises(RedisConnectionError, match="Redis refuses commands"):
            client.set("limner:test", "1")
        client.set("limner:test", "1")
        assert connection_of(client) != before


def test_a_client_leaves_a_replica_that_has_lost_its_master(server: RedisServer):
    with connect(server.url) as client, server.client() as operator:
        operator.config_set("replica-serve-stale-data", "no")
        with server.refusing("a replica"), pytest.raises(RedisConnectionError, match="MASTER is down"):
            client.get("limner:test")


def test_a_client_keeps_its_connection_after_one_refused_command(server: RedisServer):
    with connect(server.url) as client:
        before = connection_of(client)
        client.set("limner:test", "text")
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            client.lpush("limner:test", "1")
        with server.refusing("no rights"), pytest.raises(NoPermissionError):
            client.get("limner:test")
        assert connection_of(client) == before
