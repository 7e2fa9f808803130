from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image
from redis import Redis

from limner_client.cli.bulk import STATE_FILE
from limner_client.cli.main import COMMANDS, cli
from limner_client.local.contact_sheet import Tile, contact_sheet
from limner_client.local.demo import requests
from limner_client.local.doctor import State, dispatcher_checks, worker_checks
from limner_client.local.embedded_valkey import free_port
from limner_shared.domain.cards import Catalogue
from limner_shared.domain.jobs import JobRequest
from limner_shared.messaging.reports import DispatcherReport, WorkerReport, write_report

WITHOUT = "import sys; sys.modules[sys.argv.pop(1)] = None; from limner_client.cli.main import main; main()"
"""Program that runs the command line as if the module named by its first argument were not installed."""
PICTURE = b"\x89PNG not really"


def run(*words: str, **environment: str) -> Result:
    return CliRunner(env={f"LIMNER_{name.upper()}": value for name, value in environment.items()}).invoke(cli, words)


def python(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)


WHEN = "2026-01-01T00:00:00Z"


class FakeServer:
    """A real HTTP server with the native API's paths; a test can set its responses, and it records the requests."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self.queries = ""
        self.damaged = False
        errors = [{"line": line, "field": "prompt", "message": "prompt: bad."} for line in range(1, 13)]
        self.bad_lines: dict[str, Any] = {"status": 422, "title": "Invalid", "code": "invalid_bulk", "errors": errors}
        self.bad_lines |= {"detail": "12 lines of 14 cannot be accepted.", "bad_lines": 12}
        self.job_state = "succeeded"
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake.answer(self, b"")

            def do_POST(self) -> None:
                body = b""
                if self.headers.get("Transfer-Encoding") == "chunked":
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fake.answer(self, body)

            def log_message(self, *_: Any, **__: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def job(self, line: int | None = None) -> dict[str, Any]:
        digest = hashlib.sha256(PICTURE).hexdigest()
        image = {"id": "img_1", "url": f"/images/{line}", "sha256": digest, "width": 64, "height": 64, "seed": 7}
        view: dict[str, Any] = {
            "id": "job_1",
            "status": self.job_state,
            "model": "m",
            "prompt": "a red apple",
            "style": None,
        }
        view |= {"version": 2, "negative_prompt": "", "priority": "normal", "metadata": {}, "bulk": None, "links": {}}
        view |= {"position": None, "progress": None, "created_at": WHEN, "started_at": WHEN, "finished_at": WHEN}
        view |= {"width": 64, "height": 64, "steps": 4, "guidance": 3.0, "seed": 7, "n": 1, "line": line}
        view["images"] = [image | {"media_type": "image/png", "bytes": len(PICTURE)}]
        view["error"] = {"code": "storage_full", "message": "The disk is full.", "retryable": False}
        return view | ({} if self.job_state == "failed" else {"error": None})

    def of_jobs(self, method: str, body: bytes) -> tuple[int, dict[str, Any]]:
        problem = {"status": 422, "title": "Invalid", "code": "invalid_request", "detail": "style: 'x' is not allowed."}
        if method == "GET":
            return 200, {"items": [], "next": None}
        return (422, problem) if b'"x"' in body else (202, self.job())

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        path = handler.path.removeprefix("/api/v1").split("?")[0]
        self.asked.append(f"{handler.command} {path}")
        self.bodies.append(body)
        self.queries += handler.path.partition("?")[2]
        bulk: dict[str, Any] = {"created_at": WHEN, "links": {}}
        bulk |= {"id": "bulk_1", "total": 2, "status": "done", "counts": {"succeeded": 2}}
        bulk |= {
            "skipped": {"count": 12, "errors": self.bad_lines["errors"]} if "on_error=skip" in self.queries else None
        }
        status, data = {
            "/jobs": self.of_jobs(handler.command, body),
            "/jobs/job_1": (200, self.job()),
            "/jobs/job_1/cancel": (200, self.job() | {"status": "canceled"}),
            "/jobs/retry": (202, {"jobs": ["job_2"]}),
            "/models": (200, {"items": []}),
            "/bulks/bulk_1/pause": (200, bulk | {"status": "paused"}),
            "/bulks/bulk_1/resume": (200, bulk | {"status": "running"}),
            "/bulks": (422, self.bad_lines) if b"bad" in body and "on_error=skip" not in handler.path else (202, bulk),
            "/bulks/bulk_1": (200, bulk),
            "/bulks/bulk_1/results": (200, "".join(json.dumps(self.job(line)) + "\n" for line in (1, 2)).encode()),
        }.get(path, (200, b"damaged" if self.damaged else PICTURE))
        sent = data if isinstance(data, bytes) else json.dumps(data).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(sent)))
        handler.end_headers()
        handler.wfile.write(sent)


@pytest.fixture
def fake_server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.server.shutdown()
    server.server.server_close()


# --- the root command ---


def test_help_lists_every_command_without_importing_any() -> None:
    program = (
        "import sys; from limner_client.cli.main import cli; cli(['--help'], standalone_mode=False)\n"
        "print(sorted({'torch', 'flask', 'sqlalchemy', 'httpx', 'celery', 'rich'} & sys.modules.keys()))"
    )
    shown = python(program)
    assert shown.stdout.splitlines()[-1] == "[]"
    assert all(f"  {name} " in shown.stdout for name in COMMANDS)


def test_the_help_of_our_commands_imports_neither_torch_nor_flask() -> None:
    own = [name for name, lazy in COMMANDS.items() if lazy.extra in (None, "server", "service")]
    program = (
        "import sys; from limner_client.cli.main import cli\n"
        "for name in sys.argv[1:]: cli([name, '--help'], standalone_mode=False)\n"
        "print(sorted({'torch', 'flask'} & sys.modules.keys()))"
    )
    shown = python(program, *own)
    assert shown.stdout.splitlines()[-1] == "[]", shown.stderr


def test_a_command_with_a_missing_extra_names_the_extra() -> None:
    shown = python(WITHOUT, "numpy", "worker")
    assert shown.returncode == 1
    assert shown.stderr.splitlines()[-1] == (
        "Error: `limner worker` needs the extra 'worker': pip install 'limner[worker]' (no module 'numpy')"
    )
    assert "Traceback" not in shown.stderr


def test_a_missing_base_dependency_is_not_reported_as_a_missing_extra() -> None:
    assert "ModuleNotFoundError" in python(WITHOUT, "httpx", "jobs").stderr


def test_an_invalid_setting_is_reported_in_one_line_with_its_name() -> None:
    shown = run("models", port="many")
    assert shown.exit_code == 2
    assert shown.stderr.startswith("Error: LIMNER_PORT: ")
    assert len(shown.stderr.splitlines()) == 1


def test_an_unknown_command_is_a_usage_error() -> None:
    assert run("paint").exit_code == 2


# --- commands that use a server ---


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


def test_generate_sends_the_start_time_and_the_retries(fake_server: FakeServer, tmp_path: Path) -> None:
    options = ("--not-before", "2026-12-24T18:00:00Z", "--max-retries", "0")
    run("generate", "a boat", "-o", str(tmp_path / "a.png"), *options, "--server", fake_server.url)
    sent = json.loads(fake_server.bodies[0])
    assert (sent["not_before"], sent["max_retries"]) == ("2026-12-24T18:00:00Z", 0)


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


def test_generate_shows_the_servers_error_message(fake_server: FakeServer, tmp_path: Path) -> None:
    shown = run("generate", "a red apple", "--style", "x", "--server", fake_server.url)
    assert shown.exit_code == 2
    assert shown.stderr == "Error: style: 'x' is not allowed.\n"


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


# --- renamed commands ---


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


# --- on this machine ---


def test_db_upgrades_and_downgrades(tmp_path: Path) -> None:
    settings = {"data_dir": str(tmp_path)}
    assert run("db", "current", **settings).exit_code == 1
    assert run("db", "upgrade", **settings).exit_code == 0
    assert run("db", "current", **settings).exit_code == 0
    assert run("db", "downgrade", "base", "--yes", **settings).exit_code == 0
    assert run("db", "current", **settings).exit_code == 1


def test_db_reports_an_unreachable_database_in_one_line(tmp_path: Path) -> None:
    shown = run("db", "upgrade", database_url=f"postgresql://unknown@127.0.0.1:{free_port()}/limner")
    assert shown.exit_code == 1
    assert "LIMNER_DATABASE_URL" in shown.stderr
    assert len(shown.stderr.splitlines()) == 1


def test_doctor_lists_the_problems_and_their_settings(tmp_path: Path) -> None:
    redis = f"redis://127.0.0.1:{free_port()}/0"
    shown = run("doctor", data_dir=str(tmp_path), redis_url=redis, default_model="none")
    assert shown.exit_code == 1
    for words in ("LIMNER_REDIS_URL", "LIMNER_DEFAULT_MODEL", "python", "device", "disk", "port", "2 checks failed"):
        assert words in shown.output


def test_doctor_reports_no_problem_with_an_empty_folder(tmp_path: Path) -> None:
    shown = run("doctor", data_dir=str(tmp_path), port=str(free_port()))
    assert shown.exit_code == 0, shown.output
    assert "Limner can run here." in shown.output


def report(**changed: Any) -> DispatcherReport:
    values = {"owner": "host:7", "leads": ["dispatch"], "finished": {}, "failures": {}, "set_aside": []}
    return DispatcherReport.model_validate(values | {"set_aside_count": 0, "threads": {"release": None}} | changed)


def test_doctor_shows_items_set_aside_by_dispatchers_and_slow_threads(tmp_path: Path, redis_url: str) -> None:
    aside = {"duty": "sweep bulks", "item": "bulk_7", "error": "IntegrityError", "failures": 4, "retry_in": 8.0}
    with Redis.from_url(redis_url) as client:
        write_report(client, report(set_aside=[aside], set_aside_count=1))
    shown = run("doctor", data_dir=str(tmp_path), redis_url=redis_url, port=str(free_port()))
    assert shown.exit_code == 0, shown.output
    assert "bulk_7" in shown.output
    [slow] = dispatcher_checks([report(threads={"cleaning": 31.0, "release": 0.1})])
    assert (slow.state, "cleaning" in slow.found, "release" in slow.found) == (State.FAIL, True, False)
    [healthy] = dispatcher_checks([report()])
    assert healthy.state is State.OK
    [none] = dispatcher_checks([])
    assert none.state is State.WARN


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({}, State.OK),
        ({"closed": ["limner-flow"]}, State.WARN),
        ({"draining": True}, State.WARN),
        ({"stalled": ["engine"]}, State.FAIL),
    ],
)
def test_doctor_shows_paused_models_and_stalled_threads_of_workers(changed: dict[str, Any], state: State) -> None:
    values = {"owner": "b", "models": ["limner-flow"], "device": "cpu", "held": 3, "closed": [], "stalled": []}
    [found] = worker_checks([WorkerReport.model_validate(values | changed)])
    assert found.state is state
    [none] = worker_checks([])
    assert none.state is State.WARN


# --- parts of the demo ---


def test_the_requests_of_the_demo_are_valid_for_the_built_in_model(catalogue: Catalogue) -> None:
    singles, bulk = requests()
    assert (len(singles), len(bulk)) == (8, 32)
    for request in (*singles, *bulk):
        catalogue.resolve(JobRequest.model_validate(request))
    assert {request["style"] for request in bulk} == set(catalogue.get(None).styles)
    assert len({(request["prompt"], request["style"]) for request in bulk}) == 32


def test_a_contact_sheet_shows_every_tile() -> None:
    data = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(data, "PNG")
    tile = Tile(data.getvalue(), "a prompt that is much too long to stand under so small a picture", "3d")
    small, large = (contact_sheet([tile] * count, "Limner", "", columns=8) for count in (8, 9))
    assert large.height > small.height
    assert small.getpixel((150, 216)) == (255, 0, 0)
