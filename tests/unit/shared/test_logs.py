"""Log lines: each event is documented, names its process, request and jobs, and shows no prompt."""

from __future__ import annotations

import ast
import json
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from limner_shared import telemetry
from limner_shared.settings import Settings

ROOT = Path(__file__).parents[3]
PACKAGES = ("client", "dispatcher", "shared", "web", "worker")
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def events() -> dict[str, set[str]]:
    """The levels of each event in the code."""
    found: dict[str, set[str]] = {}
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                where = node.func.value
                if isinstance(where, ast.Name) and where.id == "log" and node.func.attr in LEVELS:
                    names = [str(part.value) for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
                    assert names, f"{file}:{node.lineno}: an event's name is a constant, and its values are fields"
                    for name in names:
                        found.setdefault(name, set()).add(node.func.attr.replace("exception", "error"))
    return found


def test_the_reference_lists_exactly_the_events_of_the_code_with_their_levels():
    page = (ROOT / "docs" / "reference" / "log-events.md").read_text("utf-8")
    listed = re.findall(r"^\| `([^`]+)` \| ([\w, ]+) \|", page, re.MULTILINE)
    assert {event: set(levels.split(", ")) for event, levels in listed} == events()


UNCONFIGURED = """
from limner_shared.telemetry import get_logger

get_logger("a.command").warning("an event", key="value")
"""


def test_lines_of_a_process_that_configures_no_logs_go_to_standard_error():
    ran = subprocess.run([sys.executable, "-c", UNCONFIGURED], capture_output=True, text=True, check=True)
    assert ran.stdout == ""
    assert "an event" in ran.stderr


def test_a_list_of_ids_is_short():
    ids = [f"job_{number:03}" for number in range(telemetry.LISTED_IDS + 5)]
    assert telemetry.job_ids(ids[:2]) == ids[:2]
    assert telemetry.job_ids(ids)[-1] == "and 5 more"
    assert len(telemetry.job_ids(ids)) == telemetry.LISTED_IDS + 1


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Configures JSON logs as the process `test` does; returns the lines so far."""
    root, stream = logging.getLogger(), StringIO()
    handlers, level = root.handlers[:], root.level
    telemetry.configure_logging(Settings(log_format="json"), "test")
    [handler] = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    cast("Any", handler).setStream(stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.contextvars.clear_contextvars()
    telemetry.log_to_stderr()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_lines_of_every_thread_name_the_process_and_those_of_a_request_its_ids(lines: Callable[..., Any]):
    log = telemetry.get_logger("test")
    telemetry.begin_request("r1")
    telemetry.bind_log_ids(job="job_1")
    log.info("first")
    telemetry.begin_request("r2")
    log.info("second")
    with telemetry.log_context(jobs=["job_2"]):
        log.info("third")
    thread = threading.Thread(target=lambda: log.info("elsewhere"))
    thread.start()
    thread.join()
    logging.getLogger("a.library").warning("plain")
    first, second, third, elsewhere, plain = lines()
    assert (first["request_id"], first["job"]) == ("r1", "job_1")
    assert second["request_id"] == "r2"
    assert "job" not in second
    assert third["jobs"] == ["job_2"]
    assert "request_id" not in elsewhere
    assert {each["process"] for each in (first, elsewhere, plain)} == {"test"}


def test_json_lines_have_the_time_in_utc_and_say_so(lines: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        before = datetime.now(UTC)
        telemetry.get_logger("test").info("an event")
        written = datetime.fromisoformat(lines()[0]["timestamp"])
    finally:
        monkeypatch.undo()
        time.tzset()
    assert written.utcoffset() == timedelta(0)
    assert before <= written <= datetime.now(UTC)
