"""Renamed commands still work and warn once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli_services import FakeServer, fake_server, run

__all__ = ["fake_server"]


@pytest.mark.parametrize(
    ("old", "new", "sent"),
    [
        (["dead"], "dead-letters list|retry", "GET /jobs"),
        (["dead", "--retry", "job_1"], "dead-letters list|retry", 'POST /jobs/retry {"jobs":["job_1"]}'),
        (["dead", "--retry-all"], "dead-letters list|retry", "POST /jobs/retry {}"),
        (["pause", "bulk_1"], "bulk pause", "POST /bulks/bulk_1/pause"),
        (["resume", "bulk_1"], "bulk resume", "POST /bulks/bulk_1/resume"),
    ],
)
def test_a_renamed_command_still_works_and_warns_once(
    fake_server: FakeServer, old: list[str], new: str, sent: str
) -> None:
    shown = run(*old, "--server", fake_server.url)
    assert shown.exit_code == 0, shown.output
    warning = f"Warning: `limner {old[0]}` is deprecated and will be removed; use `limner {new}`."
    assert shown.stderr.splitlines() == [warning]
    assert f"{fake_server.asked[0]} {fake_server.bodies[0].decode()}".strip() == sent


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        (["dead-letters", "list"], "GET /jobs"),
        (["dead-letters", "retry", "job_1"], 'POST /jobs/retry {"jobs":["job_1"]}'),
        (["dead-letters", "retry", "--all"], "POST /jobs/retry {}"),
        (["bulk", "pause", "bulk_1"], "POST /bulks/bulk_1/pause"),
        (["bulk", "resume", "bulk_1"], "POST /bulks/bulk_1/resume"),
    ],
)
def test_the_new_names_send_the_same_requests_without_a_warning(
    fake_server: FakeServer, words: list[str], sent: str
) -> None:
    shown = run(*words, "--server", fake_server.url)
    assert shown.exit_code == 0, shown.output
    assert shown.stderr == ""
    assert f"{fake_server.asked[0]} {fake_server.bodies[0].decode()}".strip() == sent


@pytest.mark.parametrize("words", [["retry"], ["retry", "--all", "job_1"], ["list", "job_1"]])
def test_dead_letters_refuses_an_unclear_choice_of_jobs(fake_server: FakeServer, words: list[str]) -> None:
    assert run("dead-letters", *words, "--server", fake_server.url).exit_code == 2
    assert not fake_server.asked


@pytest.mark.parametrize("options_first", [False, True])
def test_bulk_with_a_file_still_submits_it_and_warns_once(
    fake_server: FakeServer, tmp_path: Path, options_first: bool
) -> None:
    prompts, options = tmp_path / "prompts.jsonl", ["-o", str(tmp_path / "out"), "--server", fake_server.url]
    prompts.write_text('{"prompt": "a"}\n')
    shown = run("bulk", *options, str(prompts)) if options_first else run("bulk", str(prompts), *options)
    assert shown.exit_code == 0, shown.output
    assert shown.stderr.count("use `limner bulk submit FILE`") == shown.stderr.count("Warning") == 1
    assert len(list((tmp_path / "out").glob("*.png"))) == 2


def test_an_unknown_subcommand_of_bulk_is_not_taken_for_a_file() -> None:
    shown = run("bulk", "pase", "bulk_1")
    assert shown.exit_code == 2
    assert "No such command 'pase'" in shown.stderr
    assert "Warning" not in shown.stderr


def test_dispatch_is_the_dispatcher_and_warns() -> None:
    shown = run("dispatch", "--help")
    assert shown.exit_code == 0
    assert "use `limner dispatcher`" in shown.stderr
    assert shown.stdout.startswith("Usage: limner dispatcher") or "dispatcher [OPTIONS]" in shown.stdout


def test_help_lists_no_old_name() -> None:
    listed = {line.split()[0] for line in run("--help").stdout.splitlines() if line.startswith("  ")}
    assert {"dead-letters", "bulk", "dispatcher"} <= listed
    assert not {"dead", "pause", "resume", "dispatch"} & listed
