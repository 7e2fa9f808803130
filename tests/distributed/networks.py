"""Two networks of their own that a cable joins, on which packets of either direction can be lost for real.

Unlike `proxy`, no process in between acknowledges anything: the time limits of TCP itself act. It needs root on Linux.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.distributed.proxy import DOWN, UP
from tests.processes import eventually

SERVERS: Final = "192.0.2.1"
"""The address of the network in which the servers run: both are of a range for examples (RFC 5737)."""
MACHINE: Final = "192.0.2.2"
"""The address of the network of the one machine that is cut off."""
NETWORK: Final = "192.0.2.0/30"
NO_CARD: Final = "02:00:00:00:00:01"
"""The address of no network card: what is sent there is lost, and no error says so."""
TOOLS: Final = ("ip", "unshare", "nsenter")
CLONE_NEWNET: Final = 0x40000000

needs_networks = pytest.mark.skipif(
    os.geteuid() != 0 or not all(shutil.which(tool) for tool in TOOLS),
    reason=f"a network of its own needs root and {', '.join(TOOLS)}",
)


class Cable:
    """Joins two networks; each exists as long as a process that sleeps in it."""

    def __init__(self, stack: ExitStack) -> None:
        self._pids = {address: _new_network(stack) for address in (SERVERS, MACHINE)}
        self._ip(SERVERS, "link add name cable type veth peer name cable netns", str(self._pids[MACHINE]))
        for address in self._pids:
            self._ip(address, "link set lo up")
            self._ip(address, f"address add {address}/30 dev cable")
            self._ip(address, "link set cable up")

    def cut(self, way: str) -> None:
        """Lose all packets of one direction: UP is from the machine to the servers."""
        sender, receiver = (MACHINE, SERVERS) if way == UP else (SERVERS, MACHINE)
        self._ip(sender, f"neigh replace {receiver} lladdr {NO_CARD} nud permanent dev cable")

    def restore(self) -> None:
        """End `cut` for both directions."""
        for address, other in ((SERVERS, MACHINE), (MACHINE, SERVERS)):
            self._ip(address, f"neigh replace {other} lladdr {NO_CARD} nud stale dev cable")
            self._ip(address, f"neigh del {other} dev cable")

    def command(self, address: str) -> list[str]:
        """The beginning of a command line that runs a program in the network of an address."""
        return ["nsenter", f"--net={self._file(address)}"]

    @contextmanager
    def inside(self, address: str) -> Iterator[None]:
        """Meanwhile, the calling thread and the processes that it starts are in the network of an address."""
        with Path("/proc/thread-self/ns/net").open() as before, Path(self._file(address)).open() as network:
            _enter(network.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def _file(self, address: str) -> str:
        return f"/proc/{self._pids[address]}/ns/net"

    def _ip(self, address: str, words: str, *more: str) -> None:
        subprocess.run([*self.command(address), "ip", *words.split(), *more], check=True)


@contextmanager
def joined_networks() -> Iterator[Cable]:
    """Two joined networks. Skips the test where the system does not allow them."""
    with ExitStack() as stack:
        try:
            cable = Cable(stack)
        except (subprocess.CalledProcessError, AssertionError) as error:
            pytest.skip(f"this machine does not let a test make networks: {error}")
        yield cable


def ways() -> dict[str, tuple[str, ...]]:
    """The directions that can be cut, by a name for a test."""
    return {"requests": (UP,), "responses": (DOWN,), "both": (UP, DOWN)}


def _new_network(stack: ExitStack) -> int:
    """Make a network; returns the process that keeps it."""
    keeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    stack.callback(keeper.wait)
    stack.callback(keeper.kill)
    eventually(lambda: keeper.poll() is not None or _network(keeper.pid) != _network(os.getpid()), 10)
    assert keeper.poll() is None, "unshare failed"
    return keeper.pid


def _network(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def _enter(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
