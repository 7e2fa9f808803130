"""Marked secrets and prompts of a running service are in no bundle, no log and no process list."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import make_url

from limner_client.local.embedded_valkey import free_port
from limner_shared.db.accounts import keys
from tests.api.test_secrets import command_lines
from tests.conftest import start_valkey
from tests.processes import COMMAND, Service, environment, eventually
from tests.redis_clients import redis_at

MARK: Final = "zzsecretzz"
PROMPT: Final = f"a red apple named {MARK}"
CLOUD: Final = {"AWS_ACCESS_KEY_ID": f"id{MARK}", "AWS_SECRET_ACCESS_KEY": f"aws{MARK}"}

pytestmark = [pytest.mark.long, pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)]


@pytest.fixture
def marked(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service all of whose secrets are marked; database and Redis get them as passwords."""
    server = start_valkey()
    with redis_at(f"redis://127.0.0.1:{server.port}/0") as redis:
        redis.config_set("requirepass", f"redis{MARK}")
    secrets = dict.fromkeys(("signing_key", "metrics_key", "llm_key"), MARK * 2)
    database = make_url(service.settings.database_url).set(password=f"db{MARK}")
    service.change_settings(
        {
            "database_url": database.render_as_string(hide_password=False),
            "redis_url": f"redis://:redis{MARK}@127.0.0.1:{server.port}/0",
            "llm_url": f"http://user:{MARK}@127.0.0.1:9/v1",
            "llm_model": "none",
            "require_keys": True,
            "port": free_port(),
            "web_workers": 1,
            "moderation_rules": ("builtin",),
        }
        | secrets
    )
    for name, value in CLOUD.items():
        monkeypatch.setenv(name, value)
    yield service
    service.stop()
    server.stop()


def test_no_marked_secret_and_no_prompt_leaves_a_running_service(marked: Service, tmp_path: Path) -> None:
    with marked.database.write() as session:
        key = keys.create(session, "local", "marked", scopes=("read", "submit", "admin"))
    workers = [marked.start_web(), marked.start("dispatcher"), marked.start("worker")]
    base = f"http://127.0.0.1:{marked.settings.port}"
    with httpx.Client(base_url=base, trust_env=False, headers={"Authorization": f"Bearer {key}"}) as client:
        endpoint = {
            "name": "shop",
            "url": f"https://hooks.example/{MARK}?token={MARK}",
            "event_types": ["job.succeeded"],
        }
        hook = client.post("/api/v1/webhook_endpoints", json=endpoint).json()
        requests: list[dict[str, Any]] = [
            {"prompt": PROMPT, "steps": 2, "width": 64, "height": 64, "metadata": {"note": MARK}},
            {"description": f"please draw {PROMPT}"},
        ]
        jobs = [client.post("/api/v1/jobs", json=request) for request in requests]
        assert [job.status_code for job in jobs] == [202, 202], jobs[0].text
        assert client.post("/api/v1/jobs", json={"prompt": f"a beheaded {MARK}"}).status_code == 400
        paths = [f"/api/v1/jobs/{job.json()['id']}" for job in jobs]
        eventually(lambda: all(client.get(path).json()["status"] == "succeeded" for path in paths), 120, every=0.3)
    written = limner(marked, "support-bundle", "-o", str(tmp_path / "out.zip"), *logs(marked))
    marked.change_settings({"api_key": key})  # the option --key would be in the process list
    doctor = limner(marked, "doctor", "--server", base)
    lines = command_lines()
    ours = {process.pid for process in workers}
    assert ours <= set(lines)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert json.loads(parts["missing.json"]) == {}, written
    seen = parts | {"output": written + doctor, "logs": marked.logs()} | {str(pid): lines[pid] for pid in ours}
    _, _, of_key, checksum = key.split("_")
    secret_parts = [MARK, of_key, checksum, hook["signing_secret"].removeprefix("whsec_")]
    assert [(name, secret) for name, text in seen.items() for secret in secret_parts if secret in text] == []
    assert "limner_jobs_ended_total" in "".join(text for name, text in parts.items() if name.startswith("metrics/"))
    assert len(json.loads(parts["processes.json"])["workers"]) == 1
    assert json.loads(parts["schema.json"])["current"]
    assert {each["state"] for each in json.loads(parts["findings.json"])} <= {"ok", "warn"}
    assert len([name for name in parts if name.startswith("logs/")]) == 3
    assert "No check failed." in doctor


def logs(service: Service) -> list[str]:
    return [word for file in sorted(service.folder.glob("*.log")) for word in ("--log", str(file))]


def limner(service: Service, *words: str) -> str:
    command = [sys.executable, "-m", COMMAND, *words]
    variables = environment(service.settings) | {name: os.environ[name] for name in CLOUD}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr + service.logs()
    return done.stdout + done.stderr
