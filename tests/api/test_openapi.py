"""The API's own description is true, and the pages need nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings


def test_no_request_that_the_description_allows_or_forbids_breaks_the_server(app):
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)
    covered = schema.exclude(path_regex="events|bulks$")  # one never ends, the other's body is JSON Lines
    for operation in covered.get_all_operations():

        @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.ok().as_strategy())
        def breaks_nothing(case):
            answer = case.call(headers={"Host": "localhost"})
            assert answer.status_code < 500, answer.text

        breaks_nothing()


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
