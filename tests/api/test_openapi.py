"""The OpenAPI document is correct, and the pages load nothing from other sites."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from limner_web.api import openapi
from limner_web.api.events import EVENT_TYPES
from limner_web.api.openapi_examples import MISSING
from tests.api.clients import ApiClient, App
from tests.api.test_bulks import both_databases
from tests.fuzz.doors.run import fuzz_doors
from tests.fuzz.run import one_pass
from tests.processes import Service


@pytest.mark.long
@both_databases
def test_every_response_to_generated_requests_is_documented(server: Service, tmp_path: Path):
    report = one_pass(server.settings.port, tmp_path, seed=1, examples=3)
    assert report["test_cases"]["generated"] > 500
    assert report["failures"] == report["errors"] == [], report["output"]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_hostile_requests_to_the_other_doors_cause_no_fault():
    figures = fuzz_doors("sqlite", cases=63, start=1)
    assert figures["cases"] >= 63
    assert figures["failures"] == 0


@pytest.mark.long
@pytest.mark.timeout(600)
def test_hostile_requests_that_are_sent_at_once_cause_no_fault():
    figures = fuzz_doors("sqlite", cases=160, start=1, together=8)
    assert figures["cases"] >= 160
    assert figures["failures"] == 0


def test_options_lists_the_allowed_methods(client: ApiClient):
    for path, methods in {"/api/v1/jobs/retry": {"POST"}, "/api/v1/jobs": {"GET", "HEAD", "POST"}}.items():
        named = set(client.options(path).headers["Allow"].split(", ")) - {"OPTIONS"}
        assert named == methods
    assert client.get("/api/v1/jobs/retry").status_code == 405


def test_the_openapi_document_is_version_3_1_and_contains_the_paths(client: ApiClient):
    document = json.loads(client.get("/api/v1/openapi.json").text)
    assert document["openapi"].startswith("3.1")
    assert {"/api/v1/jobs", "/api/v1/bulks/{bulk_id}/results", "/api/v1/models"} <= document["paths"].keys()
    assert "prompt" in document["components"]["schemas"]["JobRequest"]["properties"]
    tags = [tag["name"] for tag in document["tags"]]
    assert len(set(tags)) == len(tags)


def test_every_reference_leads_to_the_one_schema_of_its_model(app: App, monkeypatch: pytest.MonkeyPatch):
    copies: dict[str, set[str]] = {}

    def share(document: dict[str, Any]) -> dict[str, Any]:
        for name, schema in document["components"]["schemas"].items():
            copies.setdefault(name.rpartition(".")[2], set()).add(openapi.COPY.sub(r"\1", json.dumps(schema)))
        return with_shared_schemas(document)

    with_shared_schemas = openapi._with_shared_schemas
    monkeypatch.setattr(openapi, "_with_shared_schemas", share)
    document = json.loads(app.test_client().get("/api/v1/openapi.json").text)
    assert {name for name, texts in copies.items() if len(texts) > 1} == set(), "different models of one name"
    named = re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document))
    assert set(named) == document["components"]["schemas"].keys() == copies.keys()


def test_the_reference_page_makes_the_openapi_document_once(app: App):
    made: list[object] = []

    @app.spec_processor
    def note(spec: Any) -> Any:
        made.append(spec)
        return spec

    client = app.test_client()
    assert [client.get("/api/v1/docs").status_code for _ in range(3)] == [200] * 3
    assert len(made) <= 1


def test_every_operation_has_a_name_a_body_that_is_accepted_and_a_problem_for_each_error(client: ApiClient):
    document = json.loads(client.get("/api/v1/openapi.json").text)
    operations = [each for path in document["paths"].values() for each in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert {"create_job", "list_jobs", "delete_image", "stream_events"} <= set(names)
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for operation in operations:
        for status, answer in operation["responses"].items():
            if status.startswith(("4", "5")) and not (operation["operationId"] == "readyz" and status == "503"):
                assert list(answer["content"]) == ["application/problem+json"], (operation["operationId"], status)
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            assert "example" in content or operation["operationId"] == "create_completion", (names, kind)
    for path, methods in document["paths"].items():
        body = methods.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        if path in ("/api/v1/jobs", "/api/v1/conversations", "/api/v1/jobs/retry"):
            assert client.post(path, json=body["example"]).status_code in (201, 202)


def test_every_answer_has_an_example_that_meets_its_schema(client: ApiClient):
    document = json.loads(client.get("/api/v1/openapi.json").text)
    operations = [each for path in document["paths"].values() for each in path.values()]
    for operation in operations:
        for status, answer in operation["responses"].items():
            content = answer.get("content", {}).get("application/json") if status.startswith("2") else None
            if content is not None:
                schema = {"components": document["components"]} | content.get("schema", {})
                example = content["example"]
                assert jsonschema_rs.validator_for(schema).is_valid(example), (operation["operationId"], example)
                assert MISSING not in json.dumps(example, ensure_ascii=False), (operation["operationId"], example)
    streams = document["paths"]["/api/v1/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    assert set(re.findall("event: (.*)", streams["example"])) == set(re.findall("`(\\w+)`: ", EVENT_TYPES))


def test_no_two_request_bodies_have_the_same_name(app: App):
    specs = [getattr(view, "_spec", {}) for view in app.view_functions.values()]
    bodies = {body for spec in specs if (body := spec.get("body")) is not None}
    names = [body.__name__ for body in bodies if isinstance(body, type)]
    assert len(names) > 10
    assert len(names) == len(set(names)), sorted(names)


PAGES = ["/", "/gallery", "/conversation", "/bulk", "/grid", "/queue", "/account", "/sign-in", "/api/v1/docs"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_nothing_from_other_sites_and_has_no_inline_scripts(client: ApiClient, path: Any):
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
