"""Secrets and prompts leave a service only where they belong: marked ones are looked for after a run."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from limner_shared.db import ledger
from limner_shared.db.accounts import keys
from limner_shared.db.engine import Database
from limner_shared.settings import Settings
from tests.processes import Service, eventually

MARK = "zzsecretzz"
BLOCKED = "a beheaded zzsecretzz"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings in which each secret is marked."""
    marked = dict.fromkeys(("signing_key", "metrics_key", "api_key", "llm_key", "moderation_key"), MARK * 2)
    server = {"llm_url": f"http://user:{MARK}@127.0.0.1:9/v1", "llm_model": "none"}
    return settings.model_copy(
        update=marked | server | {"require_keys": True, "moderation_rules": ("builtin",), "log_format": "json"}
    )


def command_lines() -> dict[int, str]:
    """The arguments of all processes of this machine, as every user of it can read them."""
    found: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found[int(folder.name)] = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:  # it has ended
                continue
    return found


def test_secrets_and_prompts_are_in_no_log_and_no_process_list(
    server: Service, database: Database, tmp_path: Path
) -> None:
    server.start("dispatcher")
    with database.write() as session:
        key = keys.create(session, "local", "marked", scopes=("read", "submit", "admin"))
    secret = key.rpartition("_")[2]
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{server.settings.port}", trust_env=False, headers=headers) as client:
        assert client.post("/api/v1/jobs", json={"prompt": MARK}).status_code == 202
        assert client.post("/api/v1/jobs", json={"prompt": BLOCKED}).status_code == 400
        assert client.post("/v1/moderations", json={"input": BLOCKED}).status_code == 200
        assert client.post("/api/v1/jobs", json={"prompt": MARK, "width": MARK}).status_code == 422
        assert client.get("/metrics", headers={"Authorization": f"Bearer {MARK * 2}"}).status_code == 200
        assert client.get(f"/api/v1/jobs?key={MARK}").status_code == 422
    eventually(lambda: "dispatcher ready" in (tmp_path / "dispatcher-1.log").read_text("utf-8"))
    lines = command_lines()
    assert any("serve" in line for line in lines.values())
    assert [line for line in lines.values() if MARK in line or secret in line] == []
    server.stop()
    logs = {file.name: file.read_text("utf-8") for file in tmp_path.glob("*.log")}
    assert len(logs) == 2
    assert "text blocked" in logs["serve-0.log"]
    assert [name for name, log in logs.items() if MARK in log or secret in log] == []
    assert ledger.LOCAL_TENANT in "".join(logs.values())
