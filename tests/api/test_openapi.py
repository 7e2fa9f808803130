"""The API's own description is true, and the pages need nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.api.test_bulks import both
from tests.fuzz.run import one_pass


@both
def test_no_request_that_the_description_allows_or_forbids_gets_an_answer_that_it_does_not_name(server, tmp_path):
    report = one_pass(server.settings.port, tmp_path, seed=1, examples=3)
    assert report["test_cases"]["generated"] > 500
    assert report["failures"] == report["errors"] == [], report["output"]


def test_options_names_the_methods_that_there_are(client):
    for path, methods in {"/api/v1/jobs/retry": {"POST"}, "/api/v1/jobs": {"GET", "HEAD", "POST"}}.items():
        named = set(client.options(path).headers["Allow"].split(", ")) - {"OPTIONS"}
        assert named == methods
    assert client.get("/api/v1/jobs/retry").status_code == 405


def test_the_description_is_openapi_3_1_and_names_every_path(client):
    document = client.get("/api/v1/openapi.json").json
    assert document["openapi"].startswith("3.1")
    assert {"/api/v1/jobs", "/api/v1/bulks/{bulk_id}/results", "/api/v1/models"} <= document["paths"].keys()
    assert "prompt" in document["components"]["schemas"]["JobRequest"]["properties"]


@pytest.mark.parametrize("path", ["/", "/api/v1/docs"])
def test_a_page_loads_nothing_from_elsewhere_and_runs_no_inline_script(client, path):
    page = client.get(path)
    assert page.status_code == 200
    assert not re.findall(r'(?:src|href)="https?:', page.text)
    assert not re.findall(r"<script(?![^>]*(?:src|application/json))", page.text)
    assert not re.findall(r"<style|\sstyle=|\son\w+=", page.text)
    for file in re.findall(r'"(/static/[^"]+)"', page.text):
        with client.get(file) as answer:
            assert answer.status_code == 200


def test_the_web_process_does_not_import_torch():
    code = "import sys, limner_web.app; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
