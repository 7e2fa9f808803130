"""An operator upgrades an earlier release, adds processes, loses some and replaces the passwords, all under load."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from limner_client.local.embedded_valkey import free_port
from limner_shared.db.engine import Database
from limner_shared.messaging.reports import DispatcherReport, read_reports
from limner_shared.settings import Settings
from tests import previous
from tests.chaos import oracle
from tests.chaos.servers import RedisServer
from tests.chaos.traffic import Traffic
from tests.distributed.load import Balancer
from tests.installations import run
from tests.previous import Release
from tests.processes import Service, environment, eventually
from tests.redis_clients import redis_at
from tests.stores.postgresql import EMBEDDED, Postgres

ROOT = Path(__file__).parents[2]
CARD = "tests/models/null.toml"
SECOND = "another"
"""The second password of database and Redis."""


class Installation:
    """Servers, the processes by name, and what clients had accepted."""

    def __init__(self, folder: Path, postgres: Postgres, redis: RedisServer, ports: list[int]) -> None:
        self.postgres, self.redis, self.ports = postgres, redis, ports
        self.permit("first")
        settings = Settings(
            database_url=postgres.url,
            redis_url=self._redis_url("first"),
            data_dir=folder / "data",
            models=(ROOT / CARD,),
            default_model="null",
            web_workers=1,
            lease_seconds=3.0,
            heartbeat_seconds=0.5,
            shutdown_seconds=1.0,
        )
        self.service = Service(settings, Database.of(settings), folder)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._folder = folder
        self.previous_pids: set[int] = set()
        self.accepted: set[str] = set()

    # --- servers ---

    def permit(self, password: str) -> None:
        with self.redis.client() as client:
            client.execute_command("ACL", "SETUSER", "limner", "on", f">{password}", "~*", "&*", "+@all")

    def replace_passwords(self) -> None:
        """As the guide says: new ones work beside the old ones, until no process uses these."""
        self.postgres.execute(f"CREATE ROLE limner_b LOGIN PASSWORD '{SECOND}' IN ROLE limner")
        self.postgres.execute("ALTER ROLE limner_b SET role limner")
        self.permit(SECOND)
        host = self.postgres.url.rpartition("@")[2]
        self.service.change_settings(
            {"database_url": f"postgresql://limner_b:{SECOND}@{host}", "redis_url": self._redis_url(SECOND)}
        )

    def forget_passwords(self) -> None:
        self.postgres.execute("ALTER ROLE limner PASSWORD NULL")
        with self.redis.client() as client:
            client.execute_command("ACL", "SETUSER", "limner", "<first")

    def _redis_url(self, password: str) -> str:
        return self.redis.url.replace("redis://", f"redis://limner:{password}@")

    # --- processes ---

    def start_release(self, release: Release) -> None:
        """Create an earlier release's schema and start its processes."""
        old = previous.unpack(self._folder, CARD, release=release) | {"LIMNER_MODELS": str(self._folder / CARD)}
        variables = environment(self.service.settings) | old | {"LIMNER_PORT": str(self.ports[0])}
        previous.run(variables, release.upgrade, self.postgres.url)
        for name, old_name in (("web-0", "serve"), ("dispatcher-0", "dispatcher"), ("worker-0", "worker")):
            with (self.service.folder / f"previous-{name}.log").open("wb") as log:
                process = subprocess.Popen(previous.command(old_name, release), env=variables, stdout=log, stderr=log)
            self.service.processes.append(process)
            self.running[name] = process
            self.previous_pids.add(process.pid)
        self.service.change_settings({"port": self.ports[0]})
        eventually(lambda: self.service.web_responds() and self.service.ready_workers(), 240)  # nothing is compiled

    def start(self, name: str) -> None:
        """Start a process of this release, and wait until it works."""
        role, _, number = name.partition("-")
        if role == "web":
            self.service.change_settings({"port": self.ports[int(number)]})
            self.running[name] = self.service.start_web()
        elif role == "worker":
            [self.running[name]] = self.service.start_workers(1, "--model", "null")
        else:
            before = self._dispatchers()
            self.running[name] = self.service.start("dispatcher")
            eventually(lambda: self._dispatchers() > before, 60)

    def stop(self, name: str) -> None:
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, self.service.logs()

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)

    def _dispatchers(self) -> int:
        with redis_at(self.service.settings.redis_url) as client:
            return len(read_reports(client, DispatcherReport))

    @contextmanager
    def under_load(self, name: str) -> Iterator[None]:
        """Send jobs meanwhile; afterwards each of them was accepted, and ends in success exactly once."""
        balancer, ended, sent = Balancer(self.ports), threading.Event(), list[Traffic]()

        def send() -> None:
            while not ended.wait(1):
                # The early release has no jobs with a picture.
                sent.append(Traffic(balancer.url, f"{name} {len(sent)}", from_a_picture=0))
                sent[-1].run()

        sender = threading.Thread(target=send, daemon=True)
        try:
            sender.start()
            eventually(lambda: sent and sent[0].accepted, 60)
            yield
            ended.set()
            sender.join(180)
            assert not sender.is_alive()
        finally:
            ended.set()
            balancer.close()
        assert [failure for each in sent for failure in each.failures] == [], self.service.logs()
        accepted = {job for each in sent for job in each.accepted}
        self.accepted |= accepted
        self.service.wait(sorted(accepted), 120)
        found = oracle.violations(
            self.service.database, self.service.settings, self.accepted, previous_pids=self.previous_pids
        )
        assert found == [], self.service.logs()


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)  # PostgreSQL runs as another user
        postgres, redis = Postgres(Path(name) / "postgres", EMBEDDED), RedisServer(tmp_path)
        try:
            postgres.create()
            made = Installation(tmp_path, postgres, redis, [free_port() for _ in range(3)])
            yield made
            made.service.stop()
            made.service.database.dispose()
        finally:
            redis.stop()
            postgres.kill()


def replace(installation: Installation, stops: Callable[[str], None], old: str, new: str) -> None:
    installation.start(new)
    stops(old)


def upgrade(installation: Installation) -> None:
    """Replace the processes of the earlier release as the guide says."""
    with installation.under_load("upgrade"):
        run(installation.service.settings, "db", "upgrade")
        for role in ("worker", "dispatcher", "web"):
            replace(installation, installation.stop, f"{role}-0", f"{role}-1")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_latest_release_is_upgraded_under_load(installation: Installation) -> None:
    installation.start_release(previous.latest())
    upgrade(installation)
    run(installation.service.settings, "check")


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_an_operator_upgrades_scales_fails_over_and_replaces_passwords_under_load(installation: Installation) -> None:
    on = installation
    on.start_release(previous.EARLY)
    upgrade(on)
    with on.under_load("scale up"):
        for name in ("worker-2", "dispatcher-2", "web-2"):
            on.start(name)
    with on.under_load("fail over"):
        for name in ("dispatcher-1", "worker-1", "web-1"):
            on.kill(name)
        on.redis.crash()
        on.redis.start()
        on.permit("first")
    with on.under_load("passwords"):
        on.replace_passwords()
        for role, new in (("worker", 3), ("dispatcher", 3), ("web", 1)):
            replace(on, on.stop, f"{role}-2", f"{role}-{new}")
        on.forget_passwords()
        with pytest.raises(RedisError), redis_at(on.redis.url.replace("//", "//limner:first@")) as client:
            client.ping()
        with pytest.raises(DBAPIError):
            on.postgres.execute("SELECT 1")
    assert "fail" not in run(on.service.settings, "doctor").output
    run(on.service.settings, "check")
    for name in list(on.running):
        on.stop(name)
