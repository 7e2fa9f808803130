"""Child processes that never outlive their parent: how one is started, followed, stopped, and told apart by its log."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

PR_SET_PDEATHSIG: Final = 1
TAIL_LINES: Final = 20
KILL_WAIT_SECONDS: Final = 5.0

Tell = Callable[[str, str], None]


def tether() -> None:
    """Entry of every child: ask Linux for a signal when the parent dies, then become the command.

    A program of its own rather than a `preexec_fn`, which may deadlock in a parent with threads. Arguments: the
    parent's process id, the signal's number, the command. Elsewhere than on Linux it only becomes the command.
    """
    parent, number, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number))
        if os.getppid() != int(parent):  # it died before we could ask
            raise SystemExit(1)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


class Child:
    """One supervised process in a process group of its own.

    Start it from a thread that lives as long as the parent: Linux signals when the starting *thread* ends.
    `tell(name, line)` hears each line of its output, which also goes to `log_file`.
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
        tethered = [sys.executable, "-I", "-S", str(Path(__file__)), str(os.getpid()), str(int(death_signal)), *command]
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            tethered,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(log_file,), name=f"log-{name}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative is the signal that ended it."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask it to stop in good order."""
        self._signal(signal.SIGTERM)

    def wait(self, seconds: float) -> bool:
        """Whether it ended within so many seconds."""
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End it and whatever it started, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(KILL_WAIT_SECONDS)

    def close(self) -> None:
        """End what is left of its group and read the last of its output."""
        self.kill()
        self._reader.join(KILL_WAIT_SECONDS)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def _read(self, log_file: Path) -> None:
        output: IO[str] | None = self._process.stdout
        if output is None:
            return
        with log_file.open("a", encoding="utf-8") as log, output:
            for line in output:
                log.write(line)
                log.flush()
                self.tail.append(line.rstrip("\n"))
                if self._tell is not None:
                    self._tell(self.name, line.rstrip("\n"))


if __name__ == "__main__":
    tether()
