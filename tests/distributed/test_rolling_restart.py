"""Every process is restarted three times under load: clients see no failure, and no finished step is done again.

`pytest -s` prints how much slower answers are meanwhile; the figures are written to `bench/results/`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from bench.common import conclude
from sqlalchemy import func, select

from limner_client.local.embedded_valkey import free_port
from limner_shared.db.tables import Event, Job
from limner_shared.domain.jobs import JobState
from limner_shared.messaging.reports import DispatcherReport, read_reports
from tests.distributed.load import Balancer, Load, p95
from tests.processes import Service, eventually
from tests.redis_clients import redis_at

UNDISTURBED, SHARE, ROUNDS = 36, 0.8, 3
SLOWER, FEW_CORES = 1.5, 2


class ProgressWatch:
    """Looks at the progress of all running jobs, many times a second, and notes when one goes back."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis_at(redis_url)
        self._stopping = threading.Event()
        self.seen: dict[str, int] = {}
        self.went_back: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._redis.close()

    def _run(self) -> None:
        while not self._stopping.wait(0.05):
            keys = list(self._redis.scan_iter(match="limner:progress:*", count=1000))
            for key, value in zip(keys, self._redis.mget(keys) if keys else [], strict=True):
                if value is None:
                    continue
                name, done = key.decode(), json.loads(value)["done"]
                if done < self.seen.get(name, 0):
                    self.went_back.append(f"{name}: {self.seen[name]} → {done}")
                self.seen[name] = done


@pytest.fixture
def ports(service: Service) -> tuple[int, int]:
    changes = {"web_workers": 1, "shutdown_seconds": 1.0, "checkpoint_seconds": 600.0, "metrics_port": 0}
    service.change_settings(changes)
    return free_port(), free_port()


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    """What a test has to end, whether it succeeds or not."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def balancer(ports: tuple[int, int]) -> Iterator[Balancer]:
    started = Balancer(list(ports))
    yield started
    started.close()


def dispatchers(service: Service) -> int:
    with redis_at(service.settings.redis_url) as client:
        return len(read_reports(client, DispatcherReport))


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_rolling_restart_of_everything_three_times_under_load_fails_no_request_and_repeats_no_step(
    service: Service,
    ports: tuple[int, int],
    balancer: Balancer,
    closing: ExitStack,
    record_property: Callable[[str, object], None],
) -> None:
    webs: dict[int, subprocess.Popen[bytes]] = {}

    def start_web(port: int) -> None:
        service.change_settings({"port": port})
        webs[port] = service.start_web()

    def start_dispatcher() -> subprocess.Popen[bytes]:
        before = dispatchers(service)
        started = service.start("dispatcher")
        eventually(lambda: dispatchers(service) > before, 60)
        return started

    for port in ports:
        start_web(port)
    releasing = [start_dispatcher(), start_dispatcher()]
    drawing = service.start_workers(2)
    load = Load(balancer.url)
    closing.callback(load.stop)
    rate = load.capacity(UNDISTURBED * 2, 16) * SHARE
    load.seconds.clear()
    watch = ProgressWatch(service.settings.redis_url)
    closing.callback(watch.stop)
    load.start(rate)
    eventually(lambda: len(load.seconds) >= UNDISTURBED, 600)
    undisturbed = load.seconds[:]
    for _ in range(ROUNDS):
        for port in ports:
            stop(webs[port])
            start_web(port)
        for number in range(2):
            stop(releasing[number])
            releasing[number] = start_dispatcher()
            [new] = service.start_workers()
            stop(drawing[number])
            drawing[number] = new
    closing.close()
    disturbed = load.seconds[len(undisturbed) :]
    assert load.failures == [], service.logs()
    assert watch.went_back == []
    with service.database.read() as session:
        states = {row[0]: row[1] for row in session.execute(select(Job.state, func.count()).group_by(Job.state))}
        losses = session.scalar(select(func.sum(Job.losses)))
        handed_back = session.scalar(select(func.count()).where(Event.kind == "requeued"))
    assert states == {JobState.SUCCEEDED: sum(states.values())}
    assert losses == 0
    assert handed_back, "no worker was stopped in the middle of a job: the test shows nothing"
    ratio = p95(disturbed) / p95(undisturbed)
    figures = {
        "requests a second": round(rate, 2),
        "p95, seconds": round(p95(disturbed), 2),
        "p95 undisturbed, seconds": round(p95(undisturbed), 2),
        "ratio": round(ratio, 2),
        "jobs handed back": handed_back,
    }
    record_property("figures", figures)
    conclude("rolling-restart", figures, f"ratio of p95 at most {SLOWER}", met=ratio <= SLOWER)
    # On two cores, processes that start take the processor from those that draw.
    assert ratio <= SLOWER or (os.cpu_count() or 1) <= FEW_CORES
