"""Redis with TLS, a user with the least rights, and Sentinels that fail over."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from redis.exceptions import RedisError

from limner_client.local.embedded_valkey import binary
from limner_shared.db import ledger
from limner_shared.db.schema import upgrade
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.conditions import Conditions, Interpretation
from limner_shared.domain.jobs import JobRequest, JobState, Lane
from limner_shared.messaging import questions, queue_lengths, reports
from limner_shared.messaging.celery_app import queue_name
from limner_shared.messaging.hints import JOB_CHANNEL, WAKE_CHANNEL, Hints, Progress, connect
from limner_shared.messaging.redis_queues import RedisQueues
from limner_shared.settings import Settings
from limner_web.a1111 import current_jobs, options
from limner_web.http.throttling import RequestRate
from tests.processes import Service, eventually
from tests.stores import programs
from tests.stores.certificates import Certificate, make_certificate
from tests.stores.failover import assert_survives
from tests.stores.redis_servers import ADMIN, MASTER, RedisNode, Sentinels, redis_with_user

pytestmark = pytest.mark.long

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "storage.md"
HANDSHAKE = {"hello", "auth", "select", "ping", "info", "unsubscribe"}
"""Commands of a connection, of its end, and `info` for `limner doctor`: a run may need none of them."""


def documented_user() -> str:
    """The ACL rule in the guide, with a password."""
    found = re.search(r"^user limner (?:.*\\\n)*.*", GUIDE.read_text(), re.MULTILINE)
    assert found is not None
    return " ".join(found[0].replace("\\\n", " ").split()).replace("PASSWORD", "secret")


@pytest.fixture
def certificate(server_folder: Path) -> Certificate:
    return make_certificate(server_folder / "redis-certificates")


@pytest.fixture
def secure_redis(tmp_path: Path, certificate: Certificate) -> Iterator[RedisNode]:
    node = redis_with_user(
        tmp_path / "redis", programs.required(programs.REDIS), documented_user(), certificate=certificate
    )
    yield node
    node.kill()


def secured(node: RedisNode, authority: Path) -> str:
    return f"rediss://limner:secret@127.0.0.1:{node.port}/0?ssl_ca_certs={authority}"


def use_everything(settings: Settings) -> None:
    """Call each function that talks to Redis, with the clients of the service's processes."""
    catalogue = Catalogue.load(settings.models, settings.default_model)
    _, spec = catalogue.resolve(JobRequest.model_validate({"prompt": "an apple"}))
    redis, raw = connect(settings.redis_url), connect(settings.redis_url, decode_responses=False)
    hints = Hints(redis)
    change = ledger.Change("job", "tenant", None, "null", JobState.CANCELED, 1, notifies=True)
    hints.changed([change])
    assert hints.jobs_wait()
    hints.progressed({"job": ("tenant", Progress(1, 2))})
    assert hints.progress(["job"]) == {"job": Progress(1, 2)}
    hints.previewed("job", b"preview")
    assert hints.request_preview("job") == b"preview"
    assert hints.jobs_with_preview_requests(["job"]) == {"job"}
    hints.deleted(change)
    queue_lengths.record(redis, 7, 3)
    assert queue_lengths.read(redis, [7]) == [3]
    current_jobs.remember(redis, "caller", "job")
    assert current_jobs.ids(redis, "caller") == ["job"]
    current_jobs.forget(redis, "caller", ["job"])
    options.save(redis, "tenant", options.Options(enable_pnginfo=True))
    assert options.load(redis, "tenant", catalogue).enable_pnginfo
    assert RequestRate(settings).count("tenant", 5).remaining == 4
    assert questions.ask(redis, spec.model_copy(update={"model": "unserved"}), 0.1) is None
    redis.rpush("limner:questions:unserved", "expired")
    assert questions.take(redis, ["unserved"], 4) == []
    told = Interpretation(conditions=Conditions(prompt="an apple"), backend="rules")
    questions.answer(redis, "question", questions.Answer(interpretation=told, language="en"))
    redis.rpush(queue_name("null", Lane.LOW), "not a message")
    RedisQueues(raw).move_up("null", Lane.LOW, Lane.NORMAL)
    RedisQueues(raw).read_states("null")
    redis.delete(queue_name("null", Lane.NORMAL))
    assert reports.read_reports(redis, reports.WorkerReport)
    redis.close()
    raw.close()


def called(node: RedisNode) -> set[str]:
    """The commands that were called, as ACL rules name them."""
    with node.client() as client:
        statistics: dict[str, Any] = client.info("commandstats")
    return {name.removeprefix("cmdstat_") for name in statistics}


def denied(node: RedisNode) -> list[tuple[Any, Any]]:
    with node.client() as client:
        return [(entry["reason"], entry["object"]) for entry in client.acl_log()]


def test_the_documented_user_may_do_what_the_service_does_over_tls_and_nothing_more(
    secure_redis: RedisNode, certificate: Certificate, tmp_path: Path, start_service: Callable[..., Service]
):
    url = f"sqlite:///{tmp_path / 'limner.db'}"
    upgrade(url)
    service = start_service(database_url=url, redis_url=secured(secure_redis, certificate.authority))
    service.start_web()
    service.start("dispatcher")
    service.start_workers(1, "--model", "null")
    ids = service.submit(20)
    service.wait(ids)
    web = f"http://127.0.0.1:{service.settings.port}"
    assert httpx.get(f"{web}/readyz").json()["redis"] == "ok"
    assert httpx.get(f"{web}/api/v1/jobs/{ids[0]}", params={"wait": 1}).json()["status"] == "succeeded"
    use_everything(service.settings)
    assert denied(secure_redis) == []
    allowed = set(re.findall(r" \+([a-z|]+)", documented_user()))
    assert allowed - called(secure_redis) - HANDSHAKE == set(), f"not needed; called {sorted(called(secure_redis))}"
    with connect(service.settings.redis_url) as client:
        for forbidden in ("FLUSHALL", "KEYS *", "CONFIG GET *", "SET other 1"):
            with pytest.raises(RedisError, match=r"NOPERM|permission"):
                cast("Any", client).execute_command(*forbidden.split())


def test_a_server_without_the_expected_certificate_is_not_used(
    secure_redis: RedisNode, certificate: Certificate, tmp_path: Path
):
    other = make_certificate(tmp_path / "other")
    with connect(secured(secure_redis, other.authority)) as client, pytest.raises(RedisError, match="CERTIFICATE"):
        cast("Any", client).ping()
    wrong = secured(secure_redis, certificate.authority).replace("127.0.0.1", "localhost")
    with connect(wrong) as client, pytest.raises(RedisError, match="CERTIFICATE"):
        cast("Any", client).ping()


@pytest.fixture(params=["valkey", "tls"])
def sentinels(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Sentinels, str]]:
    """Sentinels and their URL: the embedded Valkey, and a Redis with TLS."""
    certificate, program, scheme, query = None, binary(), "redis", ""
    if request.param == "tls":
        certificate = request.getfixturevalue("certificate")
        program, scheme = programs.required(programs.REDIS), "rediss"
        query = f"&ssl_ca_certs={certificate.authority}"
    group = Sentinels(tmp_path / "sentinels", program, documented_user(), certificate)
    yield (
        group,
        f"{scheme}+sentinel://limner:secret@{group.hosts}/{MASTER}/0?sentinel_password={ADMIN}{query}",
    )
    group.kill()


def test_a_failover_of_redis_loses_no_job_and_all_processes_follow_it(
    sentinels: tuple[Sentinels, str], tmp_path: Path, start_service: Callable[..., Service]
):
    group, url = sentinels
    database_url = f"sqlite:///{tmp_path / 'limner.db'}"
    upgrade(database_url)
    service = start_service(database_url=database_url, redis_url=url)
    assert_survives(service, group.fail_over)
    with connect(url) as client:
        eventually(lambda: _all_follow(client), 40)
    service.wait(service.submit(5))


def _all_follow(client: Any) -> bool:
    """Whether dispatcher and worker report to this Redis and hear it, and the worker fetches from it."""
    with suppress(RedisError):
        workers = reports.read_reports(client, reports.WorkerReport)
        dispatchers = reports.read_reports(client, reports.DispatcherReport)
        return (
            bool(workers and dispatchers)
            and client.publish(WAKE_CHANNEL, "") > 0
            and client.publish(JOB_CHANNEL, "") >= 0
        )
    return False
