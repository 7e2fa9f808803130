"""A service without keys accepts changes from this machine only: not from other sites, nor through unknown proxies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from limner_shared.db.engine import Database
from limner_shared.db.tables import Bulk, Conversation, Job
from limner_web.http.cross_site import SAFE_METHODS
from tests.api.clients import ApiClient, App
from tests.api.test_bulks import JSONL, lines, rows
from tests.api.test_keys import make_key

FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "https://localhost"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
]
OWN = [
    {},
    {"Origin": "http://localhost"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"},
    {"Origin": "http://127.0.0.1:8700", "Host": "127.0.0.1:8700"},
    {"Origin": "http://[::1]:8700", "Host": "[::1]:8700"},
]
FORWARDED = [
    {"X-Forwarded-For": "203.0.113.7"},
    {"X-Forwarded-Host": "localhost"},
    {"X-Forwarded-Proto": "https"},
    {"X-Forwarded-Server": "front"},
    {"Forwarded": "for=203.0.113.7"},
    {"Via": "1.1 front"},
    {"X-Real-IP": "203.0.113.7"},
    {"X-Client-IP": "203.0.113.7"},
    {"X-Cluster-Client-IP": "203.0.113.7"},
    {"True-Client-IP": "203.0.113.7"},
    {"CF-Connecting-IP": "203.0.113.7"},
    {"CDN-Loop": "cloudflare"},
    {"Fastly-Client-IP": "203.0.113.7"},
    {"X-Envoy-External-Address": "203.0.113.7"},
    {"X-ARR-LOG-ID": "5b1a3e51"},
]
ID = "01j9z3w6q4x7"
CHANGES = [
    ("POST", "/api/v1/jobs"),
    ("POST", "/api/v1/jobs/retry"),
    ("POST", "/api/v1/jobs/cancel"),
    ("POST", f"/api/v1/cancellations/cancel_{ID}/stop"),
    ("POST", f"/api/v1/jobs/job_{ID}/cancel"),
    ("POST", f"/api/v1/jobs/job_{ID}/replay"),
    ("PUT", f"/api/v1/jobs/job_{ID}/priority"),
    ("DELETE", f"/api/v1/jobs/job_{ID}"),
    ("DELETE", f"/api/v1/images/img_{ID}"),
    *[
        (method, f"/api/v1/{target}/{label}")
        for method in ("PUT", "DELETE")
        for target in (f"jobs/job_{ID}", f"images/img_{ID}")
        for label in ("favourite", "tags/mine")
    ],
    ("POST", "/api/v1/bulks"),
    ("POST", f"/api/v1/bulks/bulk_{ID}/cancel"),
    ("POST", f"/api/v1/bulks/bulk_{ID}/pause"),
    ("POST", f"/api/v1/bulks/bulk_{ID}/resume"),
    ("POST", "/api/v1/conversations"),
    ("PUT", f"/api/v1/conversations/conv_{ID}/title"),
    ("DELETE", f"/api/v1/conversations/conv_{ID}"),
    ("POST", f"/api/v1/conversations/conv_{ID}/messages"),
    ("PUT", f"/api/v1/conversations/conv_{ID}/turns/turn_{ID}"),
    ("POST", "/api/v1/keys"),
    ("POST", "/api/v1/keys/rotate"),
    ("DELETE", "/api/v1/keys/0123456789ab"),
    ("PUT", "/api/v1/privacy"),
    ("PUT", "/api/v1/presets/mine"),
    ("PUT", "/api/v1/presets/mine/name"),
    ("DELETE", "/api/v1/presets/mine"),
    ("PUT", "/api/v1/pause"),
    ("DELETE", "/api/v1/pause"),
    ("POST", "/api/v1/pauses"),
    ("DELETE", f"/api/v1/pauses/pause_{ID}"),
    *[
        (method, f"{api}/webhook_endpoints{path}")
        for api in ("/api/v1", "/v1")
        for method, path in (
            ("POST", ""),
            ("POST", f"/we_{ID}"),
            ("DELETE", f"/we_{ID}"),
            ("POST", f"/we_{ID}/rotate_secret"),
            ("POST", f"/we_{ID}/test"),
        )
    ],
    ("POST", "/api/v1/webhook_secret/rotate"),
    ("POST", "/api/v1/webhook_deliveries/redeliver"),
    ("POST", f"/api/v1/webhook_deliveries/whd_{ID}/redeliver"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/api/v1/interpret"),
    ("POST", "/api/v1/describe"),
    ("POST", "/api/v1/estimate"),
    ("POST", "/v1/moderations"),
    ("POST", "/v1/responses"),
    ("DELETE", f"/v1/responses/resp_{ID}"),
    ("POST", f"/v1/responses/resp_{ID}/cancel"),
    ("POST", "/v1/batches"),
    ("POST", f"/v1/batches/batch_{ID}/cancel"),
    ("POST", "/v1/files"),
    ("DELETE", f"/v1/files/file_{ID}"),
    ("POST", "/v1/images/generations"),
    ("POST", "/v1/images/edits"),
    ("POST", "/v1/images/variations"),
    ("POST", "/replicate/v1/predictions"),
    ("POST", "/replicate/v1/models/limner/limner-gan/predictions"),
    ("POST", "/replicate/v1/deployments/limner/limner-gan/predictions"),
    ("POST", f"/replicate/v1/predictions/job_{ID}/cancel"),
    ("POST", "/replicate/v1/files"),
    ("DELETE", f"/replicate/v1/files/file_{ID}"),
    ("POST", "/sdapi/v1/txt2img"),
    ("POST", "/sdapi/v1/img2img"),
    ("POST", "/sdapi/v1/options"),
    ("POST", "/sdapi/v1/interrupt"),
    ("POST", "/sdapi/v1/png-info"),
    ("POST", "/sdapi/v1/refresh-checkpoints"),
    ("POST", "/sdapi/v1/refresh-loras"),
    ("POST", "/sdapi/v1/refresh-vae"),
    ("POST", "/sdapi/v1/reload-checkpoint"),
    ("POST", "/sdapi/v1/unload-checkpoint"),
    ("POST", "/hf/models/limner-gan"),
    ("POST", "/draw"),
    ("POST", "/account/keys"),
    ("POST", "/session"),
    ("POST", "/session/end"),
    ("POST", "/language"),
]


def assert_forbidden(answer: Any) -> None:
    assert answer.status_code == 403, answer.text
    assert (answer.json.get("code") or answer.json["error"]["code"]) == "forbidden"


def test_the_list_of_changes_contains_every_route_that_changes_data(app: App):
    changing = {
        (method, rule.endpoint)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {*SAFE_METHODS}
    }
    adapter = app.url_map.bind("localhost")
    assert {(method, adapter.match(path, method)[0]) for method, path in CHANGES} == changing


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_page_of_another_origin_cannot_change_data(client: ApiClient, app: App, headers: Any):
    for method, path in CHANGES:
        body = {"prompt": "x"} if path.endswith("jobs") else {"message": "x"}
        assert_forbidden(client.open(path, method=method, json=body, headers=headers))
    bulk = client.post("/api/v1/bulks", data=lines({"prompt": "x"}), content_type=JSONL, headers=headers)
    assert_forbidden(bulk)
    assert rows(app, Job) == rows(app, Bulk) == rows(app, Conversation) == 0


@pytest.mark.parametrize("headers", OWN)
def test_own_pages_and_clients_that_are_no_browsers_can_change_data(client: ApiClient, headers: Any):
    job = client.post("/api/v1/jobs", json={"prompt": "x"}, headers=headers)
    assert job.status_code == 202, job.text
    assert client.post(job.json["links"]["cancel"], headers=headers).status_code == 200
    bulk = client.post("/api/v1/bulks", data=lines({"prompt": "x"}), content_type=JSONL, headers=headers)
    assert bulk.status_code == 202


PATHS = ("/", "/api/v1/jobs", "/v1/models", "/api/v1/docs")


@pytest.mark.parametrize("headers", FORWARDED)
def test_a_service_without_keys_refuses_forwarded_requests(client: ApiClient, headers: Any):
    for path in PATHS:
        answer = client.get(path, headers=headers)
        assert_forbidden(answer)
        assert next(iter(headers)).lower() in answer.text.lower(), "the answer does not say what shows the proxy"


def test_a_service_without_keys_refuses_the_version_that_nginx_speaks_without_settings(client: ApiClient):
    for path in PATHS:
        assert client.get(path, environ_overrides={"SERVER_PROTOCOL": "HTTP/1.1"}).status_code == 200
        assert_forbidden(client.get(path, environ_overrides={"SERVER_PROTOCOL": "HTTP/1.0"}))


PUBLIC = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}


@pytest.fixture
def proxied_client(make_app: Callable[..., App]) -> ApiClient:
    """The client of a service without keys that knows its proxy's public URL."""
    return make_app(public_url="https://pictures.example").test_client()


@pytest.mark.parametrize("host", ["pictures.example", "127.0.0.1:8700"])
def test_a_known_proxy_can_forward_requests_of_its_own_pages(proxied_client: ApiClient, host: str):
    headers = PUBLIC | {"Host": host, "Origin": "https://pictures.example", "Sec-Fetch-Site": "same-origin"}
    headers |= {"X-Real-IP": "203.0.113.7", "Via": "1.0 front"}
    assert proxied_client.post("/api/v1/jobs", json={"prompt": "x"}, headers=headers).status_code == 202


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
def test_a_known_proxy_cannot_forward_other_hosts_and_origins(proxied_client: ApiClient, headers: dict[str, Any]):
    assert_forbidden(proxied_client.post("/api/v1/jobs", json={"prompt": "x"}, headers=PUBLIC | headers))


@pytest.mark.parametrize("headers", [*FOREIGN, *FORWARDED, {"Host": "pictures.example"}])
def test_with_required_keys_only_the_key_decides(make_app: Callable[..., App], database: Database, headers: Any):
    client = make_app(require_keys=True).test_client()
    refused = client.post("/api/v1/jobs", json={"prompt": "x"}, headers=headers)
    assert (refused.status_code, refused.json["code"]) == (401, "unauthorized")
    accepted = client.post("/api/v1/jobs", json={"prompt": "x"}, headers=headers | make_key(database, "ours"))
    assert accepted.status_code == 202


@pytest.mark.parametrize("host", ["localhost@evil.example", "evil.example#localhost", "localhost.evil.example"])
def test_a_host_that_resembles_loopback_is_refused(client: ApiClient, host: str):
    assert client.get("/api/v1/jobs", headers={"Host": host}).status_code == 403
