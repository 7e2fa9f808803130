"""Browsers sign in with a key, which a cookie then carries, and no page of another site can use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from limner_shared.db.accounts import keys
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from tests.api.clients import ApiClient, App
from tests.api.test_bulks import rows
from tests.api.test_keys import id_of, make_key

PAGES = ("/", "/gallery", "/conversation", "/bulk", "/grid", "/queue", "/account")


@pytest.fixture
def browser(make_app: Callable[..., App]):
    """The client of a service that requires keys. It keeps cookies as a browser does."""
    return make_app(require_keys=True).test_client()


def secret(headers: dict[str, str]) -> str:
    return headers["Authorization"].removeprefix("Bearer ")


def sign_in(browser: ApiClient, headers: Any, **fields: Any):
    return browser.post("/session", data={"key": secret(headers)} | fields)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_leads_to_signing_in_and_back(browser: ApiClient, database: Database, path: Any):
    answer = browser.get(path)
    assert (answer.status_code, answer.location) == (302, f"/sign-in?next={path.replace('/', '%2F')}")
    assert browser.get(answer.location).status_code == 200
    answer = sign_in(browser, make_key(database, "ours"), next=path)
    assert (answer.status_code, answer.location) == (303, path)
    assert browser.get(path).status_code == 200


def test_the_cookie_opens_the_native_api_only_and_signing_out_closes_it(browser: ApiClient, database: Database):
    assert browser.get("/api/v1/jobs").status_code == 401
    sign_in(browser, make_key(database, "ours"))
    assert browser.get("/api/v1/jobs").status_code == 200
    assert browser.post("/api/v1/jobs", json={"prompt": "x"}).status_code == 202
    assert browser.get("/v1/models").status_code == 401
    assert browser.post("/session/end").status_code == 303
    assert browser.get("/api/v1/jobs").status_code == 401


@pytest.mark.parametrize("extra", [{}, {"stay": "1"}])
def test_the_cookie_is_hidden_from_scripts_and_other_sites(
    browser: ApiClient, database: Database, extra: dict[str, Any]
):
    cookie = sign_in(browser, make_key(database, "ours"), **extra).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert ("Max-Age" in cookie) is bool(extra)
    assert "Secure" not in cookie


def test_the_cookie_is_sent_by_https_only_where_a_proxy_ends_tls(make_app: Callable[..., App], database: Database):
    browser = make_app(require_keys=True, public_url="https://pictures.example").test_client()
    assert "Secure" in sign_in(browser, make_key(database, "ours")).headers["Set-Cookie"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
    ],
)
def test_a_page_of_another_site_can_neither_use_nor_make_nor_end_a_session(
    browser: ApiClient, database: Database, app: App, headers: dict[str, Any]
):
    key = make_key(database, "ours")
    assert browser.post("/session", data={"key": secret(key)}, headers=headers).status_code == 403
    assert browser.get("/account").status_code == 302
    sign_in(browser, key)
    assert browser.post("/api/v1/jobs", json={"prompt": "x"}, headers=headers).status_code == 403
    assert browser.post("/draw", data={"prompt": "x"}, headers=headers).status_code == 403
    assert browser.post("/session/end", headers=headers).status_code == 403
    assert browser.get("/account").status_code == 200
    assert rows(app, Job) == 0


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://localhost"}, {"Origin": "https://localhost"}]
)
def test_the_services_own_pages_can_use_a_session(browser: ApiClient, database: Database, headers: dict[str, Any]):
    sign_in(browser, make_key(database, "ours"))
    assert browser.post("/api/v1/jobs", json={"prompt": "x"}, headers=headers).status_code == 202


def test_the_page_of_a_job_is_shown_only_to_a_key_that_may_read_jobs(browser: ApiClient, database: Database):
    sign_in(browser, make_key(database, "ours", "submit"))
    page = browser.post("/draw", data={"prompt": "a secret"}).headers["Location"]
    answer = browser.get(page)
    assert (answer.status_code, answer.json["code"]) == (403, "read_scope_required")
    sign_in(browser, make_key(database, "ours", "read"))
    assert "a secret" in browser.get(page).text


def test_a_session_ends_with_its_key_and_has_its_scopes(browser: ApiClient, database: Database):
    reader = make_key(database, "ours", "read")
    sign_in(browser, reader)
    answer = browser.post("/api/v1/jobs", json={"prompt": "x"})
    assert (answer.status_code, answer.json["code"]) == (403, "submit_scope_required")
    assert browser.post("/draw", data={"prompt": "x"}).status_code == 403
    with database.write() as session:
        keys.revoke(session, id_of(reader))
    assert browser.get("/api/v1/jobs").status_code == 401
    assert browser.get("/").status_code == 302


@pytest.mark.parametrize("key", ["", "nonsense", "lmn_a_b_c", "ключ", "a\0b"])
def test_a_wrong_key_is_said_on_the_page(browser: ApiClient, key: str):
    answer = browser.post("/session", data={"key": key})
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example", "/a\r\nX: y", "evil"])
def test_signing_in_never_leads_to_another_site(browser: ApiClient, database: Database, target: str):
    assert sign_in(browser, make_key(database, "ours"), next=target).location == "/"


def test_a_header_wins_over_the_cookie(browser: ApiClient, database: Database):
    sign_in(browser, make_key(database, "ours"))
    browser.post("/api/v1/jobs", json={"prompt": "x"})
    assert browser.get("/api/v1/jobs", headers=make_key(database, "theirs")).json["items"] == []


def test_without_required_keys_a_cookie_means_nothing(client: ApiClient):
    client.set_cookie("limner_key", "nonsense")
    assert client.get("/api/v1/jobs").status_code == 200
    assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "Describe the picture you want."),
        ({"prompt": "x", "n": "many"}, "n:"),
        ({"prompt": "x", "n": "99"}, "1 to 16"),
        ({"prompt": "x", "size": "7x7"}, "size"),
        ({"prompt": "x", "size": "x"}, ""),
        ({"prompt": "a\0b"}, ""),
        ({"prompt": "x", "seed": "9" * 400}, "seed"),
        ({"prompt": "x", "guidance": "nan"}, ""),
    ],
)
def test_a_form_with_a_problem_is_shown_again_with_what_was_entered(
    client: ApiClient, app: App, fields: dict[str, Any], words: str
):
    answer = client.post("/draw", data=fields)
    assert answer.status_code == (303 if fields.get("size") == "x" else 422), answer.text
    if answer.status_code == 422:
        assert words in answer.text
        assert rows(app, Job) == 0


def test_a_form_makes_a_job_whose_page_reloads_until_it_ends(client: ApiClient):
    fields = {"prompt": "a <b>red</b> apple", "size": "64x64", "n": "2", "seed": "7", "steps": "3", "guidance": "2.5"}
    answer = client.post("/draw", data=fields)
    assert answer.status_code == 303
    page = client.get(answer.location)
    assert 'http-equiv="refresh"' in page.text
    assert "a &lt;b&gt;red&lt;/b&gt; apple" in page.text
    [job] = client.get("/api/v1/jobs").json["items"]
    assert (job["width"], job["n"], job["seed"], job["steps"], job["guidance"]) == (64, 2, 7, 3, 2.5)
    client.post(job["links"]["cancel"])
    assert 'http-equiv="refresh"' not in client.get(answer.location).text


@pytest.mark.parametrize("accept", ["text/html,application/xhtml+xml,*/*;q=0.8", "text/html"])
def test_browsers_get_error_pages_and_programs_get_problems(client: ApiClient, accept: str):
    page = client.get("/nothing", headers={"Accept": accept})
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert client.get("/jobs/job_0123456789", headers={"Accept": accept}).mimetype == "text/html"
    for path, headers in (("/nothing", {}), ("/nothing", {"Accept": "*/*"}), ("/api/v1/nothing", {"Accept": accept})):
        assert client.get(path, headers=headers).mimetype == "application/problem+json"
