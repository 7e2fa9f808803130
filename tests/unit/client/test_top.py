"""`limner top`: what it reads, what it computes, and what it shows of a server that lies or is away."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from limner_client.cli.main import cli
from limner_client.cli.process_metrics import MetricsDelta, Snapshot
from limner_client.cli.top import duration, view
from limner_client.local.embedded_valkey import free_port
from limner_shared.threads import Supervisor


def snapshot(at: float, values: dict[tuple[str, str], float], **labels: str) -> Snapshot:
    return Snapshot(
        at, {(address, name, frozenset(labels.items())): value for (address, name), value in values.items()}
    )


def text(change: MetricsDelta) -> str:
    console = Console(width=160, record=True, file=None)
    with console.capture() as captured:
        console.print(view(change))
    return captured.get()


def test_a_rate_is_the_growth_by_time_and_a_restarted_process_counts_from_zero():
    name = "limner_row_steps_total"
    before = snapshot(10, {("a", name): 100, ("b", name): 50})
    after = snapshot(12, {("a", name): 104, ("b", name): 6, ("c", name): 2})
    assert MetricsDelta(before, after).rates("address", name) == {"a": 2, "b": 3, "c": 1}


def test_a_quantile_is_that_of_new_observations_only():
    def buckets(at: float, *counts: float) -> Snapshot:
        name = "limner_job_wait_seconds_bucket"
        bounds = ("1.0", "5.0", "+Inf")
        return Snapshot(at, {("w", name, frozenset({("le", le)})): n for le, n in zip(bounds, counts, strict=True)})

    before = buckets(0, 100, 100, 100)
    assert MetricsDelta(before, buckets(1, 100, 100, 100)).quantile(0.95, "limner_job_wait_seconds") is None
    assert MetricsDelta(before, buckets(1, 110, 200, 200)).quantile(0.95, "limner_job_wait_seconds") == 5
    assert MetricsDelta(before, buckets(1, 110, 120, 200)).quantile(0.95, "limner_job_wait_seconds") == float("inf")


def test_the_view_shows_queues_workers_and_names_as_they_are():
    queue = frozenset({("model", "[red]m[/]"), ("lane", "normal"), ("place", "backlog")})
    now = Snapshot(
        2,
        {
            ("d", "limner_queue_jobs", queue): 7,
            ("d", "limner_queue_oldest_seconds", queue): 900,
            ("w:1", "limner_worker_held_jobs", frozenset()): 3,
            ("w:1", "limner_worker_draining", frozenset()): 1,
            ("w:1", "limner_worker_paused", frozenset({("what", "store")})): 1,
        },
        ("w:2",),
    )
    shown = text(MetricsDelta(Snapshot(0, {}), now))
    assert "[red]m[/]" in shown
    assert "15 min" in shown
    assert "draining, store" in shown
    assert "not reachable: w:2" in shown


@pytest.mark.parametrize(("seconds", "words"), [(0.25, "0.25 s"), (90, "90 s"), (900, "15 min"), (10800, "3.0 h")])
def test_a_duration_is_shown_in_its_largest_unit(seconds: float, words: str):
    assert duration(seconds) == words


class Server:
    """Serves one answer for each path."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {}
        self.keys: list[str | None] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake.keys.append(self.headers["Authorization"])
                status, body = fake.answers.get(self.path, (404, ""))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: Any, **__: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.http.server_address[1]}"
        self.thread = Supervisor().start("fake", self.http.serve_forever)

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    fake = Server()
    yield fake
    fake.close()


def top(server: str, *words: str) -> Result:
    return CliRunner().invoke(cli, ["top", "--once", "--interval", "0.2", "--server", server, *words])


def test_a_process_that_does_not_answer_is_named_and_the_others_are_shown(server: Server):
    gone = f"127.0.0.1:{free_port()}"
    server.answers["/metrics"] = 200, "# TYPE limner_event_streams gauge\nlimner_event_streams 4\n"
    server.answers["/metrics/targets"] = 200, f'[{{"targets": ["{gone}", "not an address"], "labels": {{}}}}]'
    shown = top(server.address, "--key", "secret")
    assert shown.exit_code == 0, shown.output
    assert gone in shown.output
    assert set(server.keys) == {"Bearer secret"}


def test_web_servers_are_read_at_their_own_ports_and_not_through_a_balancer(server: Server):
    gauge = "# TYPE limner_event_streams gauge\nlimner_event_streams {}\n"
    server.answers["/metrics"] = 200, gauge.format(4)
    other = Server()
    other.answers["/metrics"] = 200, gauge.format(70)
    addresses = f'["{server.address}", "{other.address}"]'
    server.answers["/metrics/targets"] = 200, f'[{{"targets": {addresses}, "labels": {{"job": "limner-web"}}}}]'
    try:
        shown = top(server.address)
    finally:
        other.close()
    assert "74" in shown.output.partition("event streams")[2].partition("\n")[0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, ""), "operator's key"),
        ((403, ""), "LIMNER_METRICS_KEY"),
        ((500, ""), "500"),
        ((200, "<html>"), "something else"),
    ],
)
def test_a_server_that_shows_no_metrics_is_explained_in_one_line(server: Server, answer: tuple[int, str], words: str):
    server.answers["/metrics"] = answer
    shown = top(server.address)
    assert shown.exit_code == 1
    assert words in shown.output
    assert "Traceback" not in shown.output


def test_a_server_that_is_away_is_named():
    shown = top(f"127.0.0.1:{free_port()}")
    assert shown.exit_code == 1
    assert "Is the server running?" in shown.output
