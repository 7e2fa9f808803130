"""The whole service on one machine: starts, supervises and stops Valkey, database, web, dispatcher and workers."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import httpx
from redis.exceptions import RedisError

from limner_client.local.embedded_valkey import EmbeddedValkey, port_in_use
from limner_client.local.processes import Backoff, Child, Tell
from limner_shared.db.schema import upgrade
from limner_shared.errors import ConfigurationError, ServiceUnavailable
from limner_shared.messaging.hints import connect
from limner_shared.messaging.typed_redis import keys_like
from limner_shared.settings import Settings

READY_SECONDS: Final = 180.0
GRACE_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.1
MAX_LOG_BYTES: Final = 10 << 20
SUPERVISOR: Final = "limner"
"""The name of the stack itself in its messages."""


@contextmanager
def lock_data_dir(data_dir: Path) -> Iterator[None]:
    """Lock a data folder for this process; the lock ends with the process, even if it is killed.

    Raises ConfigurationError if another stack holds the lock or the folder cannot be created.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "stack.lock").open("a+")
    except OSError as error:
        raise ConfigurationError(f"{data_dir} cannot be used as the data folder: {error.strerror}.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise ConfigurationError(
                f"Another Limner (process {lock.read().strip() or 'unknown'}) runs in {data_dir}: "
                "stop it, or choose another folder with LIMNER_DATA_DIR."
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


@dataclass
class Service:
    """One process of the stack, with the state of its restarts."""

    name: str
    command: tuple[str, ...]
    stop_seconds: float
    child: Child | None = None
    backoff: Backoff = field(default_factory=Backoff)
    metrics_port: int = 0


class Stack:
    """The processes of one data folder. Use it within `lock_data_dir`; `tell(name, line)` receives their output.

    Set `stopping` to stop the stack: `start` and `watch` return soon after. Set `kill_now` to kill processes that are
    still shutting down.
    """

    def __init__(self, settings: Settings, *, workers: int, log_dir: Path, tell: Tell) -> None:
        self.settings = settings
        # Plain flags, not an Event: a signal handler that sets an Event can wait for a lock that its own thread holds.
        self.stopping = False
        self.kill_now = False
        self._log_dir = log_dir
        self.tell = tell
        external = "redis_url" in settings.model_fields_set
        valkey = None if external else EmbeddedValkey(settings.data_dir / "valkey", log_dir / "valkey.log")
        self._valkey = valkey
        self.redis_url = settings.redis_url if valkey is None else valkey.url
        self._leaving: list[tuple[Service, float]] = []
        """Workers that stop, and when each is killed."""
        web = Service("web", _limner("serve"), settings.web_shutdown_seconds + GRACE_SECONDS)
        self._workers = [self._worker(number) for number in range(1, workers + 1)]
        if workers == 1:
            self._workers[0].name = "worker"
        self.services = [web, Service("dispatcher", _limner("dispatcher"), GRACE_SECONDS), *self._workers]

    @property
    def url(self) -> str:
        """The URL of the web page and the API."""
        host = self.settings.host
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
        return f"http://{shown}:{self.settings.port}"

    def start(self) -> None:
        """Start all processes and wait until the service can generate images.

        Raises ConfigurationError (a port in use, …), or ServiceUnavailable with the last output of the process that
        did not start.
        """
        if port_in_use(self.settings.host, self.settings.port):
            raise ConfigurationError(
                f"Port {self.settings.port} on {self.settings.host} is in use: stop what listens there, "
                f"or choose another, such as LIMNER_PORT={self.settings.port + 1}."
            )
        _rotate(self._log_dir)
        if self._valkey is not None:
            self._valkey.start()
        upgrade(self.settings.session_database_url)
        for service in self.services:
            self._spawn(service)
        deadline = time.monotonic() + READY_SECONDS
        for ready, what in ((self._web_is_ready, "web server"), (self._workers_are_ready, "worker")):
            self._await(ready, what, deadline)

    def watch(self, each_round: Callable[[], None] = lambda: None) -> None:
        """Restart processes that end, until `stopping` is set; `each_round` is called repeatedly."""
        while not self.stopping:
            time.sleep(POLL_SECONDS)
            self.restart_dead()
            each_round()

    @property
    def worker_count(self) -> int:
        """The number of workers that are not stopping."""
        return len(self._workers)

    def scale(self, count: int) -> None:
        """Start or stop workers until there are `count`. A stopping one finishes its jobs or hands them back."""
        while len(self._workers) < count:
            worker = self._worker(len(self._workers) + 1)
            self._workers.append(worker)
            self.services.append(worker)
            self._try_to_spawn(worker)
        while len(self._workers) > count:
            worker = self._workers.pop()
            self.services.remove(worker)
            if worker.child is not None:
                worker.child.terminate()
                self._leaving.append((worker, time.monotonic() + worker.stop_seconds))

    def restart_dead(self) -> None:
        """Restart each process that has ended, after its backoff."""
        if self._valkey is not None:
            self._valkey.restart_if_dead(partial(self.tell, SUPERVISOR))
        for service in self.services:
            self._restart_if_dead(service)
        self._leaving = [each for each in self._leaving if not self._has_left(*each)]

    def stop(self) -> None:
        """Stop all processes gracefully: each within its time limit, workers after their running jobs, Valkey last."""
        running = [service for service in self.services if service.child is not None]
        running += [service for service, _ in self._leaving]
        for service in running:
            if service.child is not None:
                service.child.terminate()
        started = time.monotonic()
        for service in running:
            self._wait_or_kill(service, started + service.stop_seconds)
        if self._valkey is not None:
            self._valkey.stop()

    def ensure_space(self, needed_bytes: int) -> None:
        """Raise ConfigurationError if the data folder's disk is nearly full: SQLite and Valkey would fail later."""
        free = shutil.disk_usage(self.settings.data_dir).free
        if free < needed_bytes:
            raise ConfigurationError(
                f"Only {free >> 20} MB are free for {self.settings.data_dir}; {needed_bytes >> 20} MB are needed."
            )

    # --- one process ---

    def _worker(self, number: int) -> Service:
        return Service(f"worker-{number}", _limner("worker"), self.settings.shutdown_seconds + GRACE_SECONDS)

    def _has_left(self, service: Service, deadline: float) -> bool:
        """Whether a stopping worker has ended; one that takes too long is killed."""
        child = service.child
        if child is None or child.exit_code is not None or time.monotonic() > deadline:
            if child is not None:
                child.close()
            return True
        return False

    def _spawn(self, service: Service) -> None:
        log_file = self._log_dir / f"{service.name}.log"
        service.child = Child(
            service.name, service.command, environment=self._environment(service), log_file=log_file, tell=self.tell
        )

    def _try_to_spawn(self, service: Service) -> None:
        """Start a process; if the machine cannot now, as without memory, the others go on and it is tried again."""
        try:
            self._spawn(service)
        except OSError as error:
            pause = service.backoff.pause(time.monotonic())
            self.tell(SUPERVISOR, f"{service.name} cannot be started ({error.strerror}); tried again in {pause:g} s")

    def _environment(self, service: Service) -> dict[str, str]:
        here: dict[str, object] = {"data_dir": self.settings.data_dir.absolute(), "redis_url": self.redis_url}
        if self.settings.metrics_port:  # one port cannot serve all processes: web has it, and the others the next ones
            here["metrics_port"] = self._metrics_port(service)
        return {**os.environ, **self.settings.model_copy(update=here).variables, "PYTHONUNBUFFERED": "1"}

    def _metrics_port(self, service: Service) -> int:
        """The port of a process: its own of before, or the lowest that no other has, also of those that stop."""
        others = {each.metrics_port for each in self.services if each is not service}
        taken = others | {each.metrics_port for each, _ in self._leaving}
        first = self.settings.metrics_port
        if not service.metrics_port:
            service.metrics_port = next(port for port in count(first) if port not in taken)
        return service.metrics_port

    def _restart_if_dead(self, service: Service) -> None:
        child = service.child
        if child is None:
            if service.backoff.is_over:
                self._try_to_spawn(service)
            return
        if child.exit_code is None:
            return
        child.close()
        pause = service.backoff.pause(child.started_at)
        self.tell(SUPERVISOR, f"{service.name} {child.ending}; it is restarted in {pause:g} s")
        service.child = None

    def _wait_or_kill(self, service: Service, deadline: float) -> None:
        child = service.child
        if child is None:
            return
        while not child.wait(POLL_SECONDS):
            if self.kill_now or time.monotonic() > deadline:
                self.tell(SUPERVISOR, f"{service.name} is still running; it is killed")
                break
        child.close()

    # --- readiness ---

    def _await(self, ready: Callable[[], bool], what: str, deadline: float) -> None:
        while not ready():
            for service in self.services:
                if service.child is not None and service.child.exit_code is not None:
                    service.child.close()
                    output = "\n  ".join(service.child.tail)
                    raise ServiceUnavailable(f"{service.name} {service.child.ending}. Its last output:\n  {output}")
            if time.monotonic() > deadline:
                raise ServiceUnavailable(f"The {what} is not ready after {READY_SECONDS:g} s; see {self._log_dir}.")
            if self.stopping:
                return
            time.sleep(POLL_SECONDS)

    def _web_is_ready(self) -> bool:
        with suppress(httpx.HTTPError):
            # Plain HTTP: to read certificates, ten times a second, would slow down the start of the service.
            return httpx.get(f"{self.url}/readyz", timeout=2, trust_env=False, verify=False).is_success  # noqa: S501
        return False

    def _workers_are_ready(self) -> bool:
        host = socket.gethostname()[:40]
        owners = [f"limner:worker:{host}:{worker.child.pid}:*" for worker in self._workers if worker.child]
        with suppress(RedisError), connect(self.redis_url) as client:
            found = [keys_like(client, owner) for owner in owners]
            return all(next(keys, None) is not None for keys in found)
        return False


def _rotate(log_dir: Path) -> None:
    """Rotate long logs, once per start; one older log is kept."""
    for log in log_dir.glob("*.log"):
        if log.stat().st_size > MAX_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))


def _limner(command: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "limner_client.cli.main", command)
