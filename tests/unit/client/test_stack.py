from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError
from tests.processes import eventually
from tests.redis_clients import redis_at

from limner_client.local import processes
from limner_client.local.embedded_valkey import EmbeddedValkey, free_port, pid_file, port_in_use, stop_orphan
from limner_client.local.processes import Child
from limner_client.local.stack import Stack, lock_data_dir
from limner_shared.errors import ConfigurationError, ServiceUnavailable
from limner_shared.settings import Settings

FAKE_PARENT = """
import sys, time
from pathlib import Path
from limner_client.local.embedded_valkey import EmbeddedValkey
server = EmbeddedValkey(Path(sys.argv[1]), Path(sys.argv[1]) / "valkey.log")
server.start()
print(server.child.pid, server.port, flush=True)
time.sleep(300)
"""


def ignore_output(name: str, line: str) -> None:
    pass


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    made = EmbeddedValkey(tmp_path / "valkey", tmp_path / "valkey.log")
    yield made
    made.stop()


def child(folder: Path, program: str, name: str = "child", **options: Any) -> Child:
    return Child(
        name, [sys.executable, "-c", program], environment=os.environ, log_file=folder / f"{name}.log", **options
    )


def test_valkey_keeps_its_data_across_a_restart(server: EmbeddedValkey) -> None:
    server.start()
    with redis_at(server.url) as client:
        client.set("kept", "yes")
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("maxmemory") == {"maxmemory": str(1 << 30)}
    server.stop()
    server.start()
    with redis_at(server.url) as client:
        assert client.get("kept") == b"yes"


def test_valkey_keeps_its_data_when_it_is_killed(server: EmbeddedValkey) -> None:
    server.start()
    with redis_at(server.url) as client:
        client.set("kept", "yes")
        client.execute_command("WAITAOF", 1, 0, 3000)
    assert server.child is not None
    server.child.kill()
    server.start()
    with redis_at(server.url) as client:
        assert client.get("kept") == b"yes"


def test_valkey_listens_on_loopback_only(server: EmbeddedValkey) -> None:
    server.start()
    with redis_at(server.url) as client:
        assert client.config_get("bind") == {"bind": "127.0.0.1"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals the death of a parent process")
def test_valkey_dies_with_a_killed_parent(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", FAKE_PARENT, tmp_path], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, port = map(int, parent.stdout.readline().split())
        assert is_alive(pid)
        parent.kill()
    eventually(lambda: not is_alive(pid) and not port_in_use("127.0.0.1", port), 10)


def test_an_orphaned_valkey_is_stopped_before_a_new_one_starts(tmp_path: Path, server: EmbeddedValkey) -> None:
    orphan = EmbeddedValkey(server.folder, tmp_path / "orphan.log")
    orphan.start()
    server.start()
    assert orphan.child is not None
    assert orphan.child.exit_code is not None
    with redis_at(server.url) as client:
        assert client.ping()
    orphan.child.close()


def test_a_pid_file_of_another_process_kills_nothing(tmp_path: Path) -> None:
    bystander = child(tmp_path, "import time; time.sleep(300)")
    pid_file(tmp_path).write_text(f"{bystander.pid}\n")
    assert stop_orphan(tmp_path) is None
    assert bystander.exit_code is None
    assert not pid_file(tmp_path).exists()
    bystander.close()


def test_the_output_of_a_child_goes_to_its_log_and_the_listener(tmp_path: Path) -> None:
    lines: list[tuple[str, str]] = []

    def tell(name: str, line: str) -> None:
        lines.append((name, line))

    talker = child(tmp_path, "print('one'); print('two')", tell=tell)
    assert talker.wait(10)
    talker.close()
    assert lines == [("child", "one"), ("child", "two")]
    assert (tmp_path / "child.log").read_text() == "one\ntwo\n"


def test_closing_a_child_also_kills_its_children(tmp_path: Path) -> None:
    program = "import subprocess as s; print(s.Popen(['sleep', '300']).pid, flush=True); import time; time.sleep(300)"
    parent = child(tmp_path, program)
    eventually(lambda: parent.tail, 10)
    grandchild = int(parent.tail[0])
    parent.close()
    eventually(lambda: not is_alive(grandchild), 5)


def test_two_stacks_cannot_use_the_same_folder(tmp_path: Path) -> None:
    message = rf"process {os.getpid()}\) runs in .*LIMNER_DATA_DIR"
    with lock_data_dir(tmp_path), pytest.raises(ConfigurationError, match=message), lock_data_dir(tmp_path):
        pass
    with lock_data_dir(tmp_path):
        pass


def test_a_killed_stack_releases_its_folder(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from limner_client.local.stack import lock_data_dir\n"
        "with lock_data_dir(Path(sys.argv[1])): print('held', flush=True); time.sleep(300)"
    )
    with subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
    with lock_data_dir(tmp_path):
        pass


def test_an_unusable_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ConfigurationError, match="cannot be used as the data folder"),
        lock_data_dir(tmp_path / "file" / "data"),
    ):
        pass


def test_a_port_in_use_is_reported_with_its_variable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as message:
        port = message.getsockname()[1]
        stack = Stack(Settings(data_dir=tmp_path, port=port), workers=1, log_dir=tmp_path, tell=ignore_output)
        with pytest.raises(ConfigurationError, match=rf"Port {port} .*LIMNER_PORT={port + 1}"):
            stack.start()
        stack.stop()


def test_each_process_has_its_own_time_to_stop_before_it_is_killed(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, shutdown_seconds=20, web_shutdown_seconds=60)
    stack = Stack(settings, workers=1, log_dir=tmp_path, tell=ignore_output)
    limits = {service.name: service.stop_seconds for service in stack.services}
    assert limits["web"] > settings.web_shutdown_seconds
    assert limits["worker"] > settings.shutdown_seconds


def test_a_failed_start_reports_the_reason_and_stops_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMNER_RELEASE_WINDOW", "many")  # every process refuses this value
    settings = Settings.model_construct(data_dir=tmp_path, port=free_port(), _fields_set={"data_dir", "port"})
    stack = Stack(settings, workers=1, log_dir=tmp_path / "logs", tell=ignore_output)
    try:
        with pytest.raises(ServiceUnavailable, match="LIMNER_RELEASE_WINDOW"):
            stack.start()
        pid = int(pid_file(tmp_path / "valkey").read_text())
    finally:
        stack.stop()
    assert not is_alive(pid)
    assert not port_in_use("127.0.0.1", settings.port)


def test_a_dead_process_is_restarted_after_a_pause(tmp_path: Path) -> None:
    lines: list[str] = []

    def tell(_: str, line: str) -> None:
        lines.append(line)

    settings = Settings(data_dir=tmp_path, port=free_port())
    stack = Stack(settings, workers=1, log_dir=tmp_path / "logs", tell=tell)
    service = stack.services[0]
    service.command = (sys.executable, "-c", "import time; time.sleep(300)")
    for other in stack.services[1:]:
        other.command = service.command
    try:
        stack.restart_dead()
        first = service.child
        assert first is not None
        os.kill(first.pid, signal.SIGKILL)
        eventually(lambda: (stack.restart_dead(), service.child not in (None, first))[1], 10)
        assert any("was killed by signal 9; it is restarted in" in line for line in lines)
    finally:
        started = time.monotonic()
        stack.stop()
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("part", ["subprocess.Popen", "limner_shared.threads.Supervisor.start"])
def test_a_process_that_cannot_be_started_now_is_started_later_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(processes, "BACKOFF_SECONDS", (0.0, 0.0))
    lines: list[str] = []
    error = OSError(errno.ENOMEM, "Cannot allocate memory") if "Popen" in part else RuntimeError("no thread")

    def fail(*_: object, **__: object) -> None:
        raise error

    stack = Stack(
        Settings(data_dir=tmp_path, port=free_port()),
        workers=1,
        log_dir=tmp_path / "logs",
        tell=lambda _, line: lines.append(line),
    )
    for service in stack.services:
        service.command = (sys.executable, "-c", "import time; time.sleep(300)")
    first, *others = stack.services
    try:
        for service in others:
            stack._spawn(service)
        with monkeypatch.context() as full:
            full.setattr(part, fail)
            stack.restart_dead()
            assert first.child is None
            stack.scale(2)
        assert len([line for line in lines if "cannot be started" in line]) == 2
        stack.restart_dead()
        assert all(service.child and service.child.exit_code is None for service in stack.services)
    finally:
        stack.stop()


def test_an_embedded_valkey_whose_port_was_taken_is_restarted_with_pauses_until_the_port_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pauses: 10 ms after the first end, an hour after the second."""
    monkeypatch.setattr(processes, "BACKOFF_SECONDS", (0.0, 0.01, 3600.0))
    lines: list[str] = []
    server = EmbeddedValkey(tmp_path / "valkey", tmp_path / "valkey.log")

    def restart(said: int) -> None:
        eventually(lambda: (server.restart_if_dead(lines.append), len(lines) >= said)[1], 30)

    try:
        server.start()
        assert server.child is not None
        os.kill(server.child.pid, signal.SIGKILL)
        server.child.wait(10)
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", server.port))
            other.listen()
            restart(said=2)
            ended = server.child
            server.restart_if_dead(lines.append)
            assert server.child is ended, "it was started within its pause"
            assert lines == [
                "valkey was killed by signal 9; it is restarted in 0.01 s",
                "valkey ended with exit code 1; it is restarted in 3600 s",
            ]
        an_hour_later = time.monotonic() + 3600
        with monkeypatch.context() as later:
            later.setattr(time, "monotonic", lambda: an_hour_later)
            server.restart_if_dead(lines.append)
        with redis_at(server.url) as client:
            eventually(lambda: answers(client), 30)
        assert len(lines) == 2
    finally:
        server.stop()


def answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_child_continues_if_its_log_cannot_be_written() -> None:
    command = [sys.executable, "-c", "[print('y' * 99) for _ in range(5000)]"]
    child = Child("talker", command, environment=os.environ, log_file=Path("/dev/full"))
    try:
        assert child.wait(30), "its output was no longer read, so it blocked"
        assert child.exit_code == 0
    finally:
        child.close()
    assert child.tail[-1] == "y" * 99
