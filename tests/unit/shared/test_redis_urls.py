"""URLs of Redis: what clients and Celery make of them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from redis import SSLConnection
from redis.connection import Connection
from redis.sentinel import SentinelConnectionPool, SentinelManagedConnection, SentinelManagedSSLConnection

from limner_shared.errors import ConfigurationError
from limner_shared.messaging.celery_app import make_celery
from limner_shared.messaging.redis_servers import address, connection_pool
from limner_shared.settings import Settings

SENTINELS = "redis+sentinel://me:p%40ss@a.example,b.example:26380/pictures/3?sentinel_password=other"


def test_the_urls_options_have_precedence():
    pool = connection_pool("redis://me:p%40ss@host:6380/2?socket_timeout=7", socket_timeout=1, decode_responses=True)
    assert issubclass(pool.connection_class, Connection)
    given = pool.connection_kwargs
    assert (given["host"], given["port"], given["db"]) == ("host", 6380, 2)
    assert (given["username"], given["password"], given["socket_timeout"]) == ("me", "p@ss", 7)
    assert given["decode_responses"] is True


def test_tls_verifies_the_server_with_the_given_authority(tmp_path: Path):
    authority = tmp_path / "ca.pem"
    authority.touch()
    pool = connection_pool(f"rediss://host:6380/0?ssl_ca_certs={authority}")
    connection = pool.connection_class(**pool.connection_kwargs)
    assert isinstance(connection, SSLConnection)
    made = cast("Any", connection)
    assert (made.ca_certs, made.cert_reqs.name, made.check_hostname) == (
        str(authority),
        "CERT_REQUIRED",
        True,
    )


def test_sentinels_have_credentials_of_their_own():
    pool = connection_pool(SENTINELS, socket_timeout=2)
    assert isinstance(pool, SentinelConnectionPool)
    assert issubclass(pool.connection_class, SentinelManagedConnection)
    assert cast("Any", pool).service_name == "pictures"
    assert pool.connection_kwargs["db"] == 3
    assert (pool.connection_kwargs["username"], pool.connection_kwargs["password"]) == ("me", "p@ss")
    sentinels = [each.connection_pool.connection_kwargs for each in cast("Any", pool).sentinel_manager.sentinels]
    assert [(each["host"], each["port"]) for each in sentinels] == [("a.example", 26379), ("b.example", 26380)]
    assert {(each["username"], each["password"], each["socket_timeout"]) for each in sentinels} == {(None, "other", 2)}


def test_sentinels_and_servers_use_tls_together():
    pool = connection_pool("rediss+sentinel://a.example/pictures?ssl_check_hostname=false")
    assert isinstance(pool, SentinelConnectionPool)
    assert issubclass(pool.connection_class, SentinelManagedSSLConnection)
    [sentinel] = cast("Any", pool).sentinel_manager.sentinels
    assert sentinel.connection_pool.connection_class is SSLConnection


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("valkey://me:s3cret@host", "begins with none of"),
        ("s3cret", "begins with none of"),
        ("redis://me:s3cret@host:port/0", "[Pp]ort"),
        ("redis://me:s3cret@host/0?ssl_cert_req=none", "ssl_cert_req"),
        ("redis://me:s3cret@host/0?socket_timeout=soon", "socket_timeout"),
        ("rediss://me:s3cret@host/0?ssl_ca_certs=/none/ca.pem", "no file /none/ca.pem for ssl_ca_certs"),
        ("redis+sentinel://me:s3cret@a,b", "name of the master is missing"),
        ("redis+sentinel://me:s3cret@a,,b/pictures", "a Sentinel has no host name"),
        ("redis+sentinel://me:s3cret@a/pictures/first", "not the number of a database"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_showing_its_password(url: str, reason: str):
    with pytest.raises(ConfigurationError, match=reason) as refused:
        connection_pool(url)
    assert "s3cret" not in refused.value.message


def test_celery_reads_the_url_as_our_clients_do(tmp_path: Path):
    app = cast("Any", make_celery(Settings(data_dir=tmp_path, redis_url=SENTINELS)))
    assert "p%40ss" not in app.conf.broker_url
    channel = app.broker_connection().transport.Channel
    assert app.conf.broker_transport_options["redis_url"] == SENTINELS
    assert "redis_url" in channel.from_transport_options
    assert address(SENTINELS) == "a.example"
