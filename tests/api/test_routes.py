"""Every route declares its body, its callers and its slots in one table, which the application requires."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from limner_shared.db.engine import Database
from limner_web.http import route_rules
from limner_web.http.route_rules import Access, Body
from tests.api.clients import App
from tests.api.test_keys import make_key

OPERATORS = {"pauses", "fleet", "history", "privacy_settings"}
"""What concerns all tenants."""
SECRETS = {"keys", "audit", "webhook_endpoints", "openai_webhook_endpoints"} | {
    "webhook_secret",
    "replicate_webhook_secret",
}
"""What concerns keys, secrets and the addresses that events go to."""


def test_a_route_without_a_declaration_and_a_declaration_without_a_route_are_refused(app: App):
    route_rules.require_declared(app)
    app.add_url_rule("/api/v1/new", "new", lambda: "")
    with pytest.raises(RuntimeError, match=r"route_rules\.py.* new\."):
        route_rules.require_declared(app)


def test_each_endpoint_is_declared_once():
    named = [endpoint for endpoints in route_rules.DECLARED.values() for endpoint in endpoints.split()]
    assert len(named) == len(set(named)) == len(route_rules.ROUTES)


def test_only_keys_with_the_scope_admin_reach_secrets_and_what_concerns_all_tenants():
    for endpoint, route in route_rules.ROUTES.items():
        blueprint = endpoint.partition(".")[0]
        if blueprint in OPERATORS:
            assert route.access is Access.OPERATOR, endpoint
        elif blueprint in SECRETS and endpoint != "keys.rotate_key":
            assert route.access is Access.ADMIN, endpoint


def test_a_public_post_route_reads_a_form_and_no_json(app: App):
    """A route that anyone may call, and that changes something, is a form that its handler checks."""
    for rule in app.url_map.iter_rules():
        route = route_rules.ROUTES[rule.endpoint]
        if route.access is Access.PUBLIC and "POST" in (rule.methods or set()):
            assert route.body is Body.FORM, rule.endpoint


@pytest.mark.parametrize(
    ("path", "headers", "kinds"),
    [
        ("/api/v1/jobs", {}, ["requests"]),
        ("/api/v1/jobs?ids=job_x&wait=0", {}, ["requests", "streams"]),
        ("/api/v1/jobs/job_x?wait=0", {}, ["requests", "streams"]),
        ("/api/v1/jobs/job_x?=", {}, ["requests"]),
        ("/v1/responses/resp_x", {}, ["requests"]),
        ("/v1/responses/resp_x?stream=true", {}, ["requests", "streams"]),
        ("/replicate/v1/predictions/job_x", {"Prefer": "wait"}, ["requests"]),
        ("/replicate/v1/predictions", {"Prefer": "WAIT=60"}, ["requests", "streams"]),
        ("/replicate/v1/predictions/job_x/stream", {}, ["streams"]),
        ("/api/v1/nothing", {}, ["requests"]),
        ("/healthz", {}, []),
    ],
)
def test_a_request_that_may_wait_holds_the_slot_of_a_stream_as_well(
    app: App, path: str, headers: dict[str, str], kinds: list[str]
):
    method = "POST" if path == "/replicate/v1/predictions" else "GET"
    with app.test_request_context(path, method=method, headers=headers):
        assert list(route_rules.of_request().slots_of_request()) == kinds


def test_what_does_not_exist_is_told_only_to_keys(make_app: Callable[..., App], database: Database):
    client = make_app(require_keys=True).test_client()
    for path in ("/api/v1/nothing", "/v1/nothing", "/sdapi/v1/nothing", "/replicate/v1/nothing", "/hf/nothing"):
        assert client.get(path).status_code == 401, path
        assert client.get(path, headers=make_key(database, "ours")).status_code == 404, path
    assert client.get("/nothing").status_code == 404
