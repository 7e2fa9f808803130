"""The access log: one line for each request, with its ids and without what the client wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest

from limner_shared.settings import Settings
from tests.api.test_bulks import JSONL
from tests.processes import Service

MARK = "zzmarkedzz"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"log_format": "json"})


def test_each_request_has_one_line_with_its_ids_and_without_its_texts(server: Service, tmp_path: Path):
    with httpx.Client(base_url=f"http://127.0.0.1:{server.settings.port}", trust_env=False) as client:
        client.get(f"/images/{MARK}.{MARK}", headers={"X-Request-Id": "linked"})
        client.get(f"/images/{MARK}.{MARK}/", headers={"X-Request-Id": "not-linked"})
        headers = {"X-Request-Id": "mine-1"}
        job = client.post("/api/v1/jobs", json={"prompt": f"a {MARK} apple"}, headers=headers).json()["id"]
        client.get(f"/api/v1/jobs/{job}", headers={"X-Request-Id": "mine-2", "Authorization": f"Bearer lim_{MARK}"})
        client.get(f"/api/v1/jobs?before={MARK}", headers={"X-Request-Id": f'"}}{{ {MARK}'})
        client.post(
            "/api/v1/bulks", content=json.dumps({"prompt": MARK, "steps": MARK}), headers={"Content-Type": JSONL}
        )
        client.get("/healthz")
        client.get("/metrics")
        refused = client.post("/api/v1/jobs", json={"prompt": MARK, "width": MARK})
    log = (tmp_path / "serve-0.log").read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    access = [line for line in lines if line["event"] == "request" and line["route"] != "/healthz"]
    assert [line["status"] for line in access[-5:]] == [202, 401, 422, 422, 422]
    created, read, listed, bulk, last = access[-5:]
    assert (created["request_id"], created["job"], created["route"]) == ("mine-1", job, "/api/v1/jobs")
    assert (read["request_id"], read["job"]) == ("mine-2", job)
    assert re.fullmatch("[0-9a-f]{32}", listed["request_id"])
    assert bulk["bulk"].startswith("bulk_")
    assert last["request_id"] == refused.json()["request_id"]
    assert [line["path"] for line in access if str(line["request_id"]).endswith("linked")] == ["/images/…"] * 2
    assert {line["process"] for line in lines} == {"web"}
    assert MARK not in log
