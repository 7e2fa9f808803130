"""A failover under load, which must lose no job."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos import oracle
from tests.chaos.traffic import Traffic
from tests.processes import Service, eventually

JOBS = 200


def assert_survives(service: Service, fail_over: Callable[[], object]) -> None:
    """Start the service, fail over while jobs are sent, and check that each ends once and all processes go on."""
    service.start_web()
    service.start("dispatcher")
    service.start_workers(1, "--model", "null")
    traffic = Traffic(f"http://127.0.0.1:{service.settings.port}", "failover")
    traffic.start()
    eventually(lambda: len(traffic.accepted) >= 10, 60)
    fail_over()
    traffic.join(120)
    service.wait(sorted(traffic.accepted), 90)
    assert traffic.failures == []
    assert len(traffic.accepted) == JOBS
    assert oracle.violations(service.database, service.settings, traffic.accepted) == [], service.logs()
    assert all(process.poll() is None for process in service.processes), service.logs()
