"""A name server that does not answer blocks no other request of a web process."""

from __future__ import annotations

import subprocess
import sys

import pytest

RESOLVING = """
from gevent import monkey
monkey.patch_all()
import _socket
import gevent
from limner_shared.db.engine import Database
from limner_shared.messaging.hints import connect

others_ran = monkey.get_original("_thread", "allocate_lock")()
others_ran.acquire()
asked = []

def hanging_name_server(*_arguments, **_options):
    asked.append(True)
    assert others_ran.acquire(timeout=20), "the event loop was blocked"
    raise _socket.gaierror(-2, "no such name")

def database():
    with Database("postgresql://limner@db.invalid/limner").read() as session:
        session.connection()

def redis():
    connect("redis://redis.invalid/0").ping()

def another_request():
    while not asked:
        gevent.sleep(0.01)
    others_ran.release()

_socket.getaddrinfo = hanging_name_server
caller, other = gevent.spawn(CLIENT), gevent.spawn(another_request)
other.join()
caller.join()
assert "no such name" in str(caller.exception), caller.exception
print("others were served")
"""


@pytest.mark.parametrize("client", ["database", "redis"])
def test_a_name_server_that_hangs_does_not_block_the_event_loop(client: str):
    script = RESOLVING.replace("CLIENT", client)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "others were served\n", done.stderr
