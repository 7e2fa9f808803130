"""The chaos suite itself: it sees what it is there to see, and its rounds run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from typing import Any, cast

import pytest

from limner_shared.messaging.reports import DispatcherReport, FailingItem
from limner_shared.process_end import EXIT_CODE
from tests.chaos.listeners import Ended, Heard, SentEvent, missed, parse
from tests.chaos.processes import End, unexpected_ends, unexpected_ends_of_web_workers, web_workers
from tests.chaos.rest import failing_items
from tests.chaos.run import KINDS
from tests.chaos.world import World
from tests.previous import ROOT
from tests.processes import Service, eventually

STREAM = [
    "retry: 2000",
    "",
    "id: 7",
    "event: job",
    'data: {"id": "job_1", "status": "running", "version": 2}',
    "",
    ": keepalive",
    "",
    "id: 8",
    "event: job",
    'data: {"id": "job_1", "status": "succeeded", "version": 3}',
    "",
    "id: 9",
    "event: bulk",
    'data: {"id": "bulk_1"}',
    "",
]


def heard(events: list[SentEvent], at: float) -> Heard:
    known = Heard()
    for event in events:
        known.note(event, at)
    return known


def test_the_reader_learns_the_ends_of_single_jobs_and_of_bulks():
    events = list(parse(STREAM))
    assert [(event.id, event.kind) for event in events] == [("7", "job"), ("8", "job"), ("9", "bulk")]
    ended = [Ended("job_1", None, 5.0), Ended("job_2", "bulk_1", 5.0)]
    assert missed("a client", heard(events, 6.0), ended) == []


def test_a_muted_stream_is_reported():
    [running, succeeded, bulk] = parse(STREAM)
    ended = [Ended("job_1", None, 5.0), Ended("job_2", "bulk_1", 5.0)]
    assert missed("a client", heard([running, bulk], 6.0), ended) == [
        "a client was not told of the ends of 1 jobs: ['job_1']"
    ]
    too_early = missed("a client", heard([succeeded, bulk], 4.0), ended)
    assert too_early == ["a client was not told of the ends of 1 jobs: ['job_2']"]


def test_a_client_that_is_told_to_read_the_jobs_again_knows_the_ends_before():
    known = heard([SentEvent("9", "reset", {})], 6.0)
    assert missed("a client", known, [Ended("job_1", None, 5.0)]) == []
    assert missed("a client", known, [Ended("job_1", None, 7.0)]) != []


@pytest.mark.parametrize(
    ("end", "faults", "is_reported"),
    [
        (End("worker-1", EXIT_CODE, 30), ["garbage_on_channels"], True),
        (End("worker-1", EXIT_CODE, 30), ["crash_database"], True),
        (End("worker-1", 1, 3), ["crash_database"], False),
        (End("worker-1", 1, 300), ["crash_database"], True),
        (End("dispatcher-1", 1, 3), ["flush_redis"], True),
        (End("dispatcher-1", 0, 3), ["crash_database"], True),
        (End("dispatcher-1", 1, 3), ["flush_redis", "freeze_database session 3.0 s"], False),
    ],
)
def test_an_end_is_reported_unless_a_fault_allows_it(end: End, faults: list[str], is_reported: bool):
    assert bool(unexpected_ends([end], faults)) is is_reported


def test_a_process_that_ends_by_itself_is_noted_and_one_that_a_fault_killed_is_not():
    world = cast("Any", World)(*[None] * 5, random.Random(1))
    ended = subprocess.Popen([sys.executable, "-c", f"raise SystemExit({EXIT_CODE})"])
    killed = subprocess.Popen(["sleep", "60"])
    world.harmed.add(killed.pid)
    killed.kill()
    for process in (ended, killed):
        process.wait(20)
        world.note_end("worker-1", process)
    assert [(end.name, end.code) for end in world.ends] == [("worker-1", EXIT_CODE)]


def test_ends_of_web_workers_are_read_from_the_log():
    log = (
        "[2026-11-29 02:00:00 +0000] [10] [ERROR] Worker (pid:11) exited with code 70.\n"
        "[2026-11-29 02:00:00 +0000] [10] [ERROR] Worker (pid:12) was sent SIGKILL! Perhaps out of memory?\n"
    )
    assert list(unexpected_ends_of_web_workers(log, {12})) == ["web worker 11 exited with code 70"]


def test_items_that_a_dispatcher_has_set_aside_are_reported():
    item = FailingItem(duty="sweep bulks", item="bulk_1", error="IntegrityError", failures=3, retry_in=8.0)
    report = DispatcherReport(
        owner="a", leads=[], finished={}, failures={}, set_aside=[item], set_aside_count=1, threads={}
    )
    well = report.model_copy(update={"set_aside": [], "set_aside_count": 0})
    assert failing_items([well, well]) == []
    assert failing_items([report, well]) == ["set aside: sweep bulks of bulk_1, IntegrityError, 3 failures"]
    assert failing_items([well]) == ["1 dispatchers report"]


@pytest.mark.long
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_web_server_answers_nothing_while_its_web_worker_is_stopped(service: Service):
    service.change_settings({"web_workers": 1})
    server = service.start_web()
    [worker] = web_workers(server.pid)
    os.kill(worker, signal.SIGSTOP)
    assert not service.web_responds()
    os.kill(worker, signal.SIGCONT)
    eventually(service.web_responds, 20)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("database", KINDS)
def test_a_round_of_faults_finds_nothing(database: str):
    faults = ("stop_a_process", "kill_web", "garbage_on_channels", "abort_a_bulk", "cut_one_direction")
    chosen = [word for fault in faults for word in ("--fault", fault)]
    command = [sys.executable, "-W", "ignore", "-m", "tests.chaos.run", "--rounds", "1", "--seed", "14"]
    done = subprocess.run(
        [*command, "--database", database, *chosen], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    figures = json.loads(done.stdout.splitlines()[-1])["figures"]
    assert (figures["rounds"], figures["jobs"] >= 200) == (1, True)
