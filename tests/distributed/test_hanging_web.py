"""A web process that serves requests while one of its threads hangs is shown as degraded, and replaced."""

from __future__ import annotations

from contextlib import ExitStack

import psutil
import pytest

from tests.distributed.test_responsive import serve, server_log, stack
from tests.processes import Service, eventually

__all__ = ["stack"]

pytestmark = pytest.mark.long


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_web_process_whose_thread_hangs_is_replaced(service: Service, stack: ExitStack):
    web = serve(service, stack, "tests.distributed.hanging_listener")
    [first] = psutil.Process(web.process.pid).children()
    with web.client.stream("GET", "/api/v1/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        web.submit()
        eventually(lambda: not first.is_running() or first.status() == psutil.STATUS_ZOMBIE)
    eventually(web._responds)
    assert psutil.Process(web.process.pid).children() != [first]
    assert "thread failed, this process ends" in server_log(service)
    with web.client.stream("GET", "/api/v1/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        job = web.submit()
        assert any(f'"{job}"' in line for line in lines), "the process in its place hears nothing"
