"""A machine whose network loses packets of one direction or of both: TCP's own time limits must end its connections."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from limner_shared.db.postgresql_engine import KEEPALIVE_SECONDS, SILENT_SECONDS
from limner_shared.domain.jobs import JobState
from tests.chaos.servers import Postgres, new_service
from tests.distributed.networks import MACHINE, NETWORK, SERVERS, Cable, joined_networks, needs_networks, ways
from tests.distributed.null_services import SHORT_LEASES, assert_all_correct
from tests.processes import COMMAND, Service, environment, eventually

pytestmark = [pytest.mark.long, needs_networks, pytest.mark.timeout(400)]
GIVE_UP_SECONDS = SILENT_SECONDS + 3 * KEEPALIVE_SECONDS
"""TCP looks at its limits only when it sends again, or when the next keepalive is due."""


@dataclass
class Machines:
    """Servers and a dispatcher in one network, and a worker in the other."""

    cable: Cable
    service: Service
    worker: subprocess.Popen[bytes]

    def sessions(self) -> int:
        """How many sessions PostgreSQL has of the worker's machine."""
        with self.service.database.read() as session:
            count = text("SELECT count(*) FROM pg_stat_activity WHERE client_addr = :address")
            return session.scalar(count, {"address": MACHINE}) or 0

    def connections(self) -> int:
        """How many connections to PostgreSQL the worker believes to have."""
        with self.cable.inside(MACHINE):  # the system tells of the connections of the reader's network
            known = psutil.Process(self.worker.pid).net_connections("tcp")
        return sum(each.status == psutil.CONN_ESTABLISHED and each.raddr == (SERVERS, 5432) for each in known)


@pytest.fixture
def machines() -> Iterator[Machines]:
    """The service with a null model whose worker reaches PostgreSQL and Redis over a cable."""
    with ExitStack() as stack:
        cable = stack.enter_context(joined_networks())
        folder = Path(tempfile.mkdtemp(prefix="limner-networks-"))
        folder.chmod(0o755)  # PostgreSQL runs as another user
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(cable.inside(SERVERS))
        service, redis, store = new_service(folder, "postgresql", **SHORT_LEASES)
        assert isinstance(store, Postgres)
        stack.callback(store.stop)
        stack.callback(redis.stop)
        stack.callback(service.database.dispose)
        stack.callback(service.stop)
        urls = {"database_url": store.listen(SERVERS, NETWORK), "redis_url": redis.listen(SERVERS)}
        service.start("dispatcher")
        variables = environment(service.settings.model_copy(update=urls))
        with (folder / "machine.log").open("wb") as log:
            command = [*cable.command(MACHINE), sys.executable, "-m", COMMAND, "worker"]
            worker = subprocess.Popen(command, env=variables, stdout=log, stderr=subprocess.STDOUT)
        service.processes.append(worker)
        eventually(lambda: service.ready_workers() == 1 or worker.poll() is not None, 120)
        assert worker.poll() is None, service.logs()
        yield Machines(cable, service, worker)


@pytest.mark.parametrize("way", ways().values(), ids=ways())
def test_both_sides_give_up_a_cut_connection_and_the_jobs_run_elsewhere(machines: Machines, way: tuple[str, ...]):
    service = machines.service
    ids = service.submit(8, steps=400)
    eventually(lambda: {job.state for job in service.jobs(ids)} == {JobState.RUNNING})
    assert machines.sessions() > 0
    assert machines.connections() > 0
    for each in way:
        machines.cable.cut(each)
    [other] = service.start_workers()
    eventually(lambda: not machines.sessions(), GIVE_UP_SECONDS)
    eventually(lambda: not machines.connections(), GIVE_UP_SECONDS)
    assert_all_correct(service, ids)
    assert {job.losses for job in service.jobs(ids)} == {1}
    machines.cable.restore()
    other.terminate()
    other.wait(30)
    assert_all_correct(service, [*ids, *service.submit(8)])
    assert machines.worker.poll() is None, service.logs()
