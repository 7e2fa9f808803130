"""API keys, and what a tenant can see."""

from __future__ import annotations

import pytest

from limner_shared.db.accounts import keys
from limner_shared.errors import NotFound, Unauthorized
from tests.api.fake_worker import finish, png, start


@pytest.fixture
def protected_app(make_app):
    """The application with required API keys."""
    return make_app(require_keys=True)


def make_key(database, tenant: str) -> dict[str, str]:
    with database.write() as session:
        return {"Authorization": f"Bearer {keys.create(session, tenant, 'test')}"}


@pytest.mark.parametrize("header", [None, "Bearer nonsense", "Bearer lmn_a_b_c", "Basic abc", "Bearer "])
def test_a_request_without_a_valid_key_is_refused(protected_app, header):
    headers = {"Authorization": header} if header else {}
    answer = protected_app.test_client().get("/api/v1/jobs", headers=headers)
    assert (answer.status_code, answer.json["code"]) == (401, "unauthorized")


def test_a_tenant_sees_only_its_own_jobs_and_pictures(protected_app, database):
    client = protected_app.test_client()
    ours, theirs = make_key(database, "ours"), make_key(database, "theirs")
    job = client.post("/api/v1/jobs", json={"prompt": "x"}, headers=ours).json
    finish(protected_app, start(protected_app, job["id"]), png("red"))
    url = client.get(job["links"]["self"], headers=ours).json["images"][0]["url"]
    assert client.get(url, headers=ours).status_code == 200
    for path in (job["links"]["self"], url):
        assert client.get(path, headers=theirs).status_code == 404
    assert client.post(job["links"]["cancel"], headers=theirs).status_code == 404
    assert client.get("/api/v1/jobs", headers=theirs).json["items"] == []


def test_a_wrong_key_is_refused_even_if_no_key_is_required(client):
    assert client.get("/api/v1/jobs", headers={"Authorization": "Bearer lmn_wrong"}).status_code == 401


def test_keys_are_required_on_all_addresses_except_loopback(settings):
    assert not settings.keys_required
    assert settings.model_copy(update={"host": "0.0.0.0"}).keys_required  # noqa: S104
    assert not settings.model_copy(update={"host": "::1"}).keys_required


def test_a_service_without_keys_accepts_loopback_host_names_only(client):
    answer = client.get("/api/v1/jobs", headers={"Host": "evil.example:8700"})
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")


def test_a_revoked_key_is_refused_and_its_secret_is_not_stored(database):
    with database.write() as session:
        key = keys.create(session, "ours", "laptop")
        [(row, tenant)] = keys.list_keys(session)
        assert (tenant, row.label) == ("ours", "laptop")
        assert key.split("_")[2] not in str(vars(row))
        assert keys.authenticate(session, key) == row.tenant_id
        keys.revoke(session, row.id)
        with pytest.raises(Unauthorized):
            keys.authenticate(session, key)
        with pytest.raises(NotFound):
            keys.revoke(session, row.id)
