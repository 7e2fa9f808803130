"""Child processes that end with their parent: start, log, stop and kill."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from limner_client.local import child_launcher
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor

log = get_logger(__name__)

TAIL_LINES: Final = 20
KILL_WAIT_SECONDS: Final = 5.0
STEADY_SECONDS: Final = 60.0
"""A process that ran longer than this resets its restart backoff."""
BACKOFF_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

Tell = Callable[[str, str], None]


@dataclass
class Backoff:
    """The pauses before a process is restarted: longer each time that it ends soon after its start."""

    failures: int = 0
    restart_at: float = 0.0

    def pause(self, started_at: float) -> float:
        """Begin the pause after a process that was started then; return its seconds."""
        now = time.monotonic()
        self.failures = 0 if now - started_at > STEADY_SECONDS else self.failures + 1
        seconds = BACKOFF_SECONDS[min(self.failures, len(BACKOFF_SECONDS) - 1)]
        self.restart_at = now + seconds
        return seconds

    @property
    def is_over(self) -> bool:
        """Whether the process may be started."""
        return time.monotonic() >= self.restart_at


class Child:
    """One supervised process in a process group of its own.

    Start it from a thread that lives as long as the parent: Linux sends the death signal when the starting *thread*
    ends. `tell(name, line)` receives each line of its output, which is also appended to `log_file`.

    Raises OSError if the machine has no process, thread, memory or open file left.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log_file: Path,
        tell: Tell | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name = name
        self.started_at = time.monotonic()
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._tell = tell
        log_file.parent.mkdir(parents=True, exist_ok=True)
        launched = [
            sys.executable,
            "-I",
            "-S",
            str(Path(child_launcher.__file__)),
            str(os.getpid()),
            str(int(death_signal)),
            *command,
        ]
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            launched,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = self._start_reader(log_file)

    @property
    def pid(self) -> int:
        """The process id, which is also the process group id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, or the negated number of the signal that killed it; None while it runs."""
        return self._process.poll()

    @property
    def ending(self) -> str:
        """How it ended, for a message; only if it has."""
        code = self.exit_code or 0
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._signal(signal.SIGTERM)

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds`; returns whether the process has ended."""
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """Kill the process group: the process and all that it started. One that hangs in the kernel is left behind."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_WAIT_SECONDS)

    def close(self) -> None:
        """Kill what remains of its process group, and read the rest of its output."""
        self.kill()
        self._reader.join(KILL_WAIT_SECONDS)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def _start_reader(self, log_file: Path) -> threading.Thread:
        try:
            return Supervisor().start(f"log-{self.name}", lambda: self._read(log_file))
        except RuntimeError as error:
            self.kill()
            if self._process.stdout is not None:
                self._process.stdout.close()
            raise OSError(errno.EAGAIN, "no thread can be started to read its output") from error

    def _read(self, log_file: Path) -> None:
        """Read the output to its end even if the log cannot be written: a child blocks when its output is not read."""
        output: IO[str] | None = self._process.stdout
        if output is None:
            return
        written = True
        with output:
            for line in output:
                try:
                    with log_file.open("a", encoding="utf-8") as file:
                        file.write(line)
                    written = True
                except OSError as error:  # usually a full disk
                    if written:
                        with contextlib.suppress(OSError):  # standard error can be a file on the same disk
                            log.warning("the log cannot be written", file=str(log_file), error=str(error))
                    written = False
                self.tail.append(line.rstrip("\n"))
                if self._tell is not None:
                    self._tell(self.name, line.rstrip("\n"))
