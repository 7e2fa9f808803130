"""The commands that call a service."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.cli_services import PICTURE, FakeServer, fake_server, run

from limner_client.cli import own_queue, retrying
from limner_client.cli.bulk import STATE_FILE
from limner_client.client import Client
from limner_client.local.embedded_valkey import free_port

__all__ = ["fake_server"]


@pytest.mark.parametrize("words", [("models",), ("jobs",), ("generate", "a red apple"), ("cancel", "job_1")])
def test_without_a_server_the_error_has_the_address_and_what_to_do(words: tuple[str, ...]) -> None:
    port = str(free_port())
    shown = run(*words, port=port)
    assert shown.exit_code == 1
    assert f"No Limner server answers at http://127.0.0.1:{port}" in shown.stderr
    assert "limner up" in shown.stderr


def test_generate_writes_the_picture(fake_server: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "new" / "apple.png"
    shown = run("generate", "a red apple", "-o", str(file), "--size", "64x64", "--server", fake_server.url)
    assert shown.exit_code == 0, shown.output
    assert file.read_bytes() == PICTURE
    assert json.loads(fake_server.bodies[0]) == {"prompt": "a red apple", "width": 64, "height": 64}


def test_generate_says_what_may_be_hard_to_recognise(fake_server: FakeServer, tmp_path: Path) -> None:
    words = ("generate", "a hut", "-o", str(tmp_path / "hut.png"), "--server", fake_server.url)
    fake_server.recognition = {"recognised": False, "unclear": ["a \x1bhut"], "nearer": ["houses", "kaaba"]}
    assert run(*words).output.endswith("“a  hut” may be hard to recognise.\n“houses” may work better.\n")
    fake_server.recognition = {"recognised": True}
    assert "recognise" not in run(*words).output


def test_generate_sends_the_start_time_and_the_retries(fake_server: FakeServer, tmp_path: Path) -> None:
    options = ("--not-before", "2026-12-24T18:00:00Z", "--max-retries", "0")
    run("generate", "a boat", "-o", str(tmp_path / "a.png"), *options, "--server", fake_server.url)
    sent = json.loads(fake_server.bodies[0])
    assert (sent["not_before"], sent["max_retries"]) == ("2026-12-24T18:00:00Z", 0)


def test_generate_sends_the_quality(fake_server: FakeServer, tmp_path: Path) -> None:
    run("generate", "a boat", "-o", str(tmp_path / "a.png"), "--quality", "best", "--server", fake_server.url)
    assert json.loads(fake_server.bodies[0]) == {"prompt": "a boat", "quality": "best"}
    assert run("generate", "a boat", "--quality", "finest", "--server", fake_server.url).exit_code == 2


def test_generate_sends_the_input_image(fake_server: FakeServer, tmp_path: Path) -> None:
    start = tmp_path / "start.webp"
    start.write_bytes(b"a picture")
    run("generate", "a boat", "-o", str(tmp_path / "a.png"), "--image", str(start), "--server", fake_server.url)
    sent = json.loads(fake_server.bodies[0])
    assert sent["image"] == "data:image/webp;base64,YSBwaWN0dXJl"
    assert "mask" not in sent


def test_generate_refuses_an_input_file_that_is_not_an_image(fake_server: FakeServer, tmp_path: Path) -> None:
    start = tmp_path / "start.txt"
    start.write_text("a boat")
    shown = run("generate", "a boat", "--image", str(start), "--server", fake_server.url)
    assert shown.exit_code == 2
    assert "PNG, JPEG or WebP" in shown.stderr


@pytest.mark.parametrize("command", [["jobs"], ["jobs", "job_1"], ["dead-letters", "list"]])
def test_texts_of_users_are_shown_as_they_are_and_never_obeyed(fake_server: FakeServer, command: list[str]) -> None:
    fake_server.prompt = "a [/red] \x1b[2Jcat"
    shown = run(*command, "--server", fake_server.url)
    assert shown.exit_code == 0, shown.output
    assert "\x1b[2J" not in shown.output
    assert "[/red]" in shown.output
    assert "cat" in shown.output


def test_generate_shows_the_servers_error_message(fake_server: FakeServer, tmp_path: Path) -> None:
    shown = run("generate", "a red apple", "--style", "x", "--server", fake_server.url)
    assert shown.exit_code == 2
    assert shown.stderr == "Error: style: 'x' is not allowed.\n"


def test_generate_goes_on_after_an_outage_and_a_limit_while_it_waits(
    fake_server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "FIRST_BACKOFF_SECONDS", 0.01)
    problems = [(503, "service_unavailable"), (429, "limit_reached")]
    fake_server.job_problems = [
        (status, {"status": status, "title": "x", "code": code, "detail": "Not now.", "retry_after": 0})
        for status, code in problems
    ]
    shown = run("generate", "a red apple", "-o", str(tmp_path / "a.png"), "--server", fake_server.url)
    assert shown.exit_code == 0, shown.output
    assert fake_server.job_problems == []
    assert (tmp_path / "a.png").read_bytes() == PICTURE


@pytest.mark.parametrize(("existing", "told"), [(False, "Canceled job_1."), (True, "job_1 goes on")])
def test_an_interrupted_generate_cancels_the_job_that_it_has_submitted_and_no_other(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch, *, existing: bool, told: str
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    fake_server.existing = existing
    monkeypatch.setattr(Client, "job", interrupted)
    shown = run("generate", "a red apple", "--unique", "daily", "--server", fake_server.url)
    assert shown.exit_code == 1
    assert told in shown.stderr
    assert ("POST /jobs/job_1/cancel" in fake_server.asked) is not existing


def test_generate_fails_with_the_jobs_error(fake_server: FakeServer, tmp_path: Path) -> None:
    fake_server.job_state = "failed"
    shown = run("generate", "a red apple", "-o", str(tmp_path / "a.png"), "--server", fake_server.url)
    assert shown.exit_code == 1
    assert "The disk is full. (storage_full)" in shown.stderr


def test_an_invalid_size_is_refused_without_a_request(fake_server: FakeServer) -> None:
    shown = run("generate", "a red apple", "--size", "large", "--server", fake_server.url)
    assert shown.exit_code == 2
    assert not fake_server.asked


def test_a_damaged_picture_is_not_written(fake_server: FakeServer, tmp_path: Path) -> None:
    fake_server.damaged = True
    shown = run("generate", "a red apple", "-o", str(tmp_path / "a.png"), "--server", fake_server.url)
    assert shown.exit_code == 1
    assert "SHA-256" in shown.stderr
    assert not (tmp_path / "a.png").exists()


def test_jobs_shows_one_job(fake_server: FakeServer) -> None:
    shown = run("jobs", "job_1", "--server", fake_server.url)
    assert shown.exit_code == 0
    assert "a red apple" in shown.output


def test_bulk_resumes_and_downloads_only_missing_pictures(fake_server: FakeServer, tmp_path: Path) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "out"
    prompts.write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    words = ("bulk", "submit", str(prompts), "-o", str(out), "--server", fake_server.url)
    assert run(*words).exit_code == 0
    assert fake_server.bodies[1] == prompts.read_bytes()
    assert sorted(file.name for file in out.glob("*.png")) == ["000001.png", "000002.png"]
    assert len((out / "results.jsonl").read_text().splitlines()) == 2

    (out / "000001.png").unlink()
    (out / "000002.png").write_bytes(b"cut off")
    fake_server.asked.clear()
    assert run(*words).exit_code == 0
    assert "POST /bulks" not in fake_server.asked
    assert fake_server.asked.count("GET /images/1") == fake_server.asked.count("GET /images/2") == 1
    assert {file.read_bytes() for file in out.glob("*.png")} == {PICTURE}

    fake_server.asked.clear()
    assert run(*words).exit_code == 0
    assert not [asked for asked in fake_server.asked if "images" in asked]


def test_a_picture_that_is_no_longer_stored_keeps_no_other_from_being_downloaded(
    fake_server: FakeServer, tmp_path: Path
) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "out"
    prompts.write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    fake_server.lost = "/images/1"
    shown = run("bulk", "submit", str(prompts), "-o", str(out), "--server", fake_server.url)
    assert shown.exit_code == 1
    assert "1 images are no longer stored or cannot be read: img_1." in shown.stderr
    assert [file.name for file in out.glob("*.png")] == ["000002.png"]
    assert (out / "results.jsonl").exists()


@pytest.mark.parametrize(("seconds", "exit_code"), [(0.01, 0), (3600, 1)])
def test_bulk_waits_for_a_limit_of_the_tenant_unless_it_lasts_too_long(
    fake_server: FakeServer, tmp_path: Path, seconds: float, exit_code: int
) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "out"
    prompts.write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    fake_server.refusals, fake_server.limit_seconds = 3, seconds
    shown = run("bulk", "submit", str(prompts), "-o", str(out), "--server", fake_server.url)
    assert (shown.exit_code, "Too many." in shown.stderr) == (exit_code, True)
    assert len(list(out.glob("*.png"))) == 2 * (exit_code == 0)


def test_bulk_lists_the_invalid_lines_or_skips_them(fake_server: FakeServer, tmp_path: Path) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "out"
    prompts.write_text("bad")
    words = ("bulk", "submit", str(prompts), "-o", str(out), "--server", fake_server.url)
    refused = run(*words)
    assert refused.exit_code == 2
    for message in ("12 lines of 14", "line 1: prompt: bad.", "line 10: prompt: bad.", "and 2 more", "--on-error skip"):
        assert message in refused.stderr
    assert "line 11" not in refused.stderr

    accepted = run(*words, "--on-error", "skip")
    assert accepted.exit_code == 0, accepted.output
    assert "12 lines were skipped" in accepted.stderr
    assert len((out / "skipped.jsonl").read_text().splitlines()) == 12


def test_a_corrected_file_is_submitted_into_the_folder_of_the_refused_one(
    fake_server: FakeServer, tmp_path: Path
) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "out"
    words = ("bulk", "submit", str(prompts), "-o", str(out), "--server", fake_server.url)
    prompts.write_text("bad")
    assert run(*words).exit_code == 2
    prompts.write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    corrected = run(*words)
    assert corrected.exit_code == 0, corrected.output


def test_bulk_does_not_retry_if_the_server_never_responded(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text("{}")
    shown = run("bulk", "submit", str(tmp_path / "p.jsonl"), "-o", str(tmp_path), port=str(free_port()))
    assert shown.exit_code == 1
    assert "Trying again" not in shown.stderr


def test_bulk_refuses_a_folder_that_belongs_to_another_file(fake_server: FakeServer, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    for text in ('{"prompt": "a"}\n', '{"prompt": "b"}\n'):
        prompts.write_text(text)
        shown = run("bulk", "submit", str(prompts), "-o", str(tmp_path), "--server", fake_server.url)
    assert shown.exit_code == 2
    assert "another file" in shown.stderr


def test_bulk_names_an_unreadable_state_file(fake_server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_text("{")
    (tmp_path / "p.jsonl").write_text("{}\n")
    shown = run("bulk", "submit", str(tmp_path / "p.jsonl"), "-o", str(tmp_path), "--server", fake_server.url)
    assert shown.exit_code == 2
    assert STATE_FILE in shown.stderr


def test_the_own_queue_is_paused_until_a_time_and_the_answer_is_shown(fake_server: FakeServer) -> None:
    shown = run("own-queue", "pause", "--reason", "lunch", "--until", "2h", "--server", fake_server.url)
    assert shown.exit_code == 0, shown.output
    sent = json.loads(fake_server.bodies[0])
    assert sent["reason"] == "lunch"
    assert datetime.fromisoformat(sent["until"]) > datetime.now(UTC) + timedelta(hours=1.9)
    assert shown.output.startswith("You have paused your queue until 2026-12-24 18:00 UTC: lunch.")
    resumed = run("own-queue", "resume", "--server", fake_server.url)
    assert resumed.output == "The operator has paused your queue: unpaid.\n"
    assert run("own-queue", "show", "--server", fake_server.url).output == "Your queue is not paused.\n"


def test_all_that_waits_is_canceled_by_the_service_while_the_command_looks(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_queue, "POLL_SECONDS", 0)
    fake_server.waiting, fake_server.canceled_at_once = 5, 2
    words = ("own-queue", "cancel", "--model", "limner-gan", "--priority", "low", "--server", fake_server.url)
    assert run(*words).exit_code == 1  # not without a yes
    assert fake_server.asked == []
    shown = run(*words, "--yes")
    assert (shown.exit_code, shown.stdout) == (0, "5 jobs canceled.\n")
    assert fake_server.asked == ["POST /jobs/cancel", *["GET /cancellations/cancel_1"] * 3]
    assert json.loads(fake_server.bodies[0]) == {"model": "limner-gan", "priority": "low", "in_background": True}
    nothing = run("own-queue", "cancel", "--yes", "--server", fake_server.url)
    assert (nothing.exit_code, nothing.output) == (0, "0 jobs canceled.\n")


def test_ctrl_c_leaves_a_cancellation_to_the_service_and_says_how_to_stop_it(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    # Not in the module `time` itself: other threads of the tests sleep as well.
    monkeypatch.setattr(own_queue, "time", SimpleNamespace(sleep=interrupted))
    fake_server.waiting, fake_server.canceled_at_once = 9000, 1000
    shown = run("own-queue", "cancel", "--yes", "--server", fake_server.url)
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert "cancel_1 continues on the server; to stop it: limner own-queue stop-canceling cancel_1" in shown.stderr
    shown = run("own-queue", "show", "--server", fake_server.url)
    assert "cancel_1 cancels all that waits of limner-gan with low priority: 2,000 jobs so far.\n" in shown.output
    for named in ((), ("cancel_1",)):
        shown = run("own-queue", "stop-canceling", *named, "--server", fake_server.url)
        assert shown.output.startswith("cancel_1 is stopped: ")


def test_a_cancellation_that_another_client_stops_has_not_canceled_all(fake_server: FakeServer) -> None:
    fake_server.waiting, fake_server.stopped = 3, True
    shown = run("own-queue", "cancel", "--yes", "--server", fake_server.url)
    assert (shown.exit_code, shown.stdout) == (1, "1 job canceled.\n")
    assert "the other jobs still wait" in shown.stderr
    fake_server.waiting = 0
    assert run("own-queue", "stop-canceling", "--server", fake_server.url).output == "Nothing is being canceled.\n"


def test_all_dead_letters_are_retried_even_if_one_request_retries_only_some(fake_server: FakeServer) -> None:
    fake_server.dead_letters, fake_server.retried_at_once = 5, 2
    shown = run("dead-letters", "retry", "--all", "--server", fake_server.url)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.split() == [f"job_again_{number}" for number in range(5, 0, -1)]
    shown = run("dead-letters", "retry", "--all", "--server", fake_server.url)
    assert shown.stdout == "There are no dead letters to retry.\n"


def test_bulk_list_shows_each_bulk_with_its_ended_jobs(fake_server: FakeServer):
    listed = run("bulk", "list", "--limit", "5", "--server", fake_server.url)
    assert (listed.exit_code, "limit=5" in fake_server.queries) == (0, True)
    assert " ".join(listed.output.splitlines()[1].split()) == "bulk_1 done 2 of 2 0 2026-01-01 00:00 UTC"
