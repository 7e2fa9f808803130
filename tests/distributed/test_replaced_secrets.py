"""Each secret is replaced by the operator's guide while the service runs: what keeps working, and what ends.

The passwords of database and Redis are in `test_operating_upgrade.py`, the keys of a bucket in `tests/stores`.
"""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest
from click.testing import CliRunner
from standardwebhooks import Webhook, WebhookVerificationError

from limner_client.cli.main import cli
from limner_client.client import Client
from limner_client.local.embedded_valkey import free_port
from limner_shared.db import queries
from limner_shared.db.accounts import keys
from limner_shared.domain.jobs import JobState
from limner_shared.storage.blobs import Blobs
from tests.api.identity_provider import CLIENT, SECRET, Provider, running_provider
from tests.fake_llm import fake_llm
from tests.fake_moderation import fake_moderation
from tests.processes import TENANT, Service, eventually
from tests.receivers import Request, receiver

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]

CARD: Final = Path(__file__).parents[1] / "models" / "null.toml"
OLD, NEXT = "the-old-secret", "the-next-secret"


class Installation:
    """A service whose processes are replaced one by one."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.service.settings.port}"

    def start(self, name: str, **changes: Any) -> None:
        """Start a process with these settings, and wait until it works."""
        self.service.change_settings(changes)
        if name.startswith("web"):
            self.running[name] = self.service.start_web()
        elif name.startswith("worker"):
            [self.running[name]] = self.service.start_workers(1, "--model", "null")
        else:
            self.running[name] = self.service.start("dispatcher")

    def stop(self, name: str) -> None:
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, self.service.logs()

    def restart(self, name: str, **changes: Any) -> None:
        """Replace a process by one with these settings."""
        self.stop(name)
        self.start(name, **changes)

    def draw(self, **request: Any) -> tuple[Any, bytes]:
        """Draw a picture; returns its job and the stored file."""
        [job] = self.service.wait(self.service.submit(**request))
        assert job.state == JobState.SUCCEEDED, self.service.logs()
        with self.service.database.read() as session:
            [image, *_] = queries.images(session, [job.id])[job.id]
        return job, Blobs(self.service.settings.resolved_blob_url).get(image.sha256)

    def image_id(self, job_id: str) -> str:
        with self.service.database.read() as session:
            return queries.images(session, [job_id])[job_id][0].id


@pytest.fixture
def installation(service: Service) -> Iterator[Installation]:
    service.change_settings({"models": (CARD,), "default_model": "null", "web_workers": 1, "port": free_port()})
    yield Installation(service)
    service.stop()


def get(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers=headers, trust_env=False, timeout=60)


# --- LIMNER_SIGNING_KEY ---


def test_a_link_works_until_the_last_step_of_replacing_the_signing_key(installation: Installation) -> None:
    on = installation
    on.start("dispatcher")
    on.start("worker")
    job, _ = on.draw()
    on.start("web", signing_key=OLD)
    with Client(on.url) as client:
        link = urlsplit(client.link(on.image_id(job.id)).url).path
    assert get(on.url + link).status_code == 200
    on.restart("web", accepted_signing_keys=NEXT)
    assert get(on.url + link).status_code == 200
    on.restart("web", signing_key=NEXT, accepted_signing_keys=OLD)
    assert get(on.url + link).status_code == 200
    on.restart("web", accepted_signing_keys="")
    assert get(on.url + link).status_code == 403


# --- LIMNER_METRICS_KEY ---


def test_only_scrapes_with_the_key_are_refused_while_the_metrics_key_is_replaced(installation: Installation) -> None:
    on = installation
    on.start("web", require_keys=True, metrics_key=OLD, metrics_port=free_port())

    def scraped(key: str) -> int:
        return get(f"{on.url}/metrics", Authorization=f"Bearer {key}").status_code

    def by_port() -> int:
        return get(f"http://127.0.0.1:{on.service.settings.metrics_port}/metrics").status_code

    assert (scraped(OLD), scraped(NEXT), by_port()) == (200, 401, 200)
    on.restart("web", metrics_key=NEXT)
    assert (scraped(OLD), scraped(NEXT), by_port()) == (401, 200, 200)


# --- LIMNER_LLM_KEY ---


def told(body: dict[str, Any]) -> dict[str, str]:
    return {"content": json.dumps({"prompt": "a cat in a hat"}) if "response_format" in body else "Your cat."}


def test_descriptions_are_interpreted_by_rules_only_between_the_end_of_the_old_llm_key_and_the_new_one(
    installation: Installation,
) -> None:
    on = installation

    def backend() -> str:
        job, _ = on.draw(prompt=None, description="please draw a cat with a hat")
        return job.interpretation["backend"]

    with fake_llm(told) as server:
        server.keys = {OLD}
        on.start("dispatcher")
        on.start("worker-0", llm_url=server.url, llm_model="a-model", llm_key=OLD)
        assert backend() == "server"
        server.keys = {NEXT}
        assert backend() == "rules", "nothing fails"
        server.keys = {OLD, NEXT}
        on.start("worker-1", llm_key=NEXT)
        on.stop("worker-0")
        server.keys = {NEXT}
        assert backend() == "server"


# --- LIMNER_MODERATION_KEY ---


def test_no_job_waits_while_the_moderation_key_is_replaced(installation: Installation) -> None:
    on = installation
    with fake_moderation() as server:
        server.keys = {OLD}
        on.start("dispatcher")
        on.start("worker-0", moderation_url=server.url, moderation_key=OLD)
        on.draw(prompt="un gato")
        server.keys = {OLD, NEXT}
        on.start("worker-1", moderation_key=NEXT)
        on.stop("worker-0")
        server.keys = {NEXT}
        on.draw(prompt="un perro")
        assert "the moderation service failed" not in on.service.logs()


# --- the client secret of the sign-in ---


def signed_in(browser: httpx.Client, provider: Provider) -> int:
    """Sign in with a browser; the status of the answer, which is 303 for a success."""
    begun = browser.get("/session/oidc")
    assert begun.status_code == 303
    return browser.get("/session/oidc/callback", params=provider.sign_in(begun.headers["location"])).status_code


def test_people_stay_signed_in_while_the_client_secret_is_replaced(installation: Installation, tmp_path: Path) -> None:
    on, file = installation, tmp_path / "client-secret"
    with running_provider() as provider:
        provider.claims = {"email": "ada@acme.example", "email_verified": True}
        file.write_text(SECRET)
        identity: dict[str, Any] = {"oidc_client_id": CLIENT, "oidc_client_secret_file": file}
        identity |= {"oidc_issuer": provider.url, "oidc_grants": "@acme.example=acme", "require_keys": True}
        on.start("web", public_url=on.url, **identity)
        with (
            httpx.Client(base_url=on.url, trust_env=False) as early,
            httpx.Client(base_url=on.url, trust_env=False) as late,
        ):
            assert signed_in(early, provider) == 303
            provider.secrets.add(NEXT)
            file.write_text(NEXT)
            assert signed_in(late, provider) == 303, "a running server uses the secret that it has read"
            provider.secrets.remove(SECRET)
            assert signed_in(late, provider) == 502, "too early: the old one ends after the restart"
            on.restart("web")
            assert signed_in(late, provider) == 303
            assert [each.get("/api/v1/jobs").status_code for each in (early, late)] == [200, 200]


# --- the certificate of C2PA ---


def make_certificate(folder: Path, organization: str) -> Path:
    made = CliRunner().invoke(cli, ["c2pa", "new-certificate", str(folder), "--organization", organization])
    assert made.exit_code == 0, made.output
    return folder


def signer_of(data: bytes, media_type: str = "image/png") -> str:
    """Who signed a valid file, as C2PA's own reader says."""
    c2pa: Any = pytest.importorskip("c2pa")
    with c2pa.Reader(media_type, io.BytesIO(data)) as reader:
        assert reader.get_validation_state() == "Valid"
        return reader.get_active_manifest()["signature_info"]["issuer"]


def test_pictures_stay_valid_when_the_signing_certificate_is_replaced(
    installation: Installation, tmp_path: Path
) -> None:
    on, used = installation, make_certificate(tmp_path / "used", "Old Ltd")
    fresh = make_certificate(tmp_path / "fresh", "New Ltd")
    files = {"c2pa_certificate": used / "certificate.pem", "c2pa_key": used / "key.pem", "c2pa": "on"}
    on.start("dispatcher", **files)
    on.start("worker-0")
    on.start("web")
    job, before = on.draw()
    shutil.copy(fresh / "certificate.pem", used)
    assert signer_of(on.draw(seed=1)[1]) == "Old Ltd", "a running process signs with the files that it has read"
    refused = on.service.start("worker", "--model", "null")
    assert refused.wait(60) != 0, "a certificate without its key"
    shutil.copy(fresh / "key.pem", used)
    on.start("worker-1")
    on.stop("worker-0")
    on.restart("web")
    assert signer_of(on.draw(seed=2)[1]) == "New Ltd"
    assert signer_of(before) == "Old Ltd"
    rendition = get(f"{on.url}/api/v1/images/{on.image_id(job.id)}?format=webp&width=64").content
    assert signer_of(rendition, "image/webp") == "New Ltd"


# --- secrets of webhooks and API keys ---


def genuine(request: Request, secret: str) -> bool:
    try:
        Webhook(secret).verify(request.body, request.headers)
    except WebhookVerificationError:
        return False
    return True


def test_a_receiver_verifies_each_delivery_while_the_secret_of_webhooks_is_replaced(
    installation: Installation,
) -> None:
    on = installation
    on.start("dispatcher", webhook_internal_targets="127.0.0.1")
    on.start("worker")
    on.start("web")
    with receiver() as shop, Client(on.url) as client:

        def delivered() -> Request:
            before = len(shop.requests)
            on.draw(seed=before)
            eventually(lambda: len(shop.requests) > before)
            return shop.requests[-1]

        endpoint = client.webhooks.create("shop", shop.url, ["job.succeeded"])
        old = endpoint.signing_secret
        assert genuine(delivered(), old)
        new = client.webhooks.rotate(endpoint.id, 3600).signing_secret
        both = delivered()
        assert (genuine(both, old), genuine(both, new)) == (True, True)
        newest = client.webhooks.rotate(endpoint.id, 0).signing_secret
        after = delivered()
        assert [genuine(after, each) for each in (old, new, newest)] == [False, False, True]


def test_a_rotated_api_key_works_for_another_day_and_is_ended_at_once_by_revoking_it(
    installation: Installation,
) -> None:
    on = installation
    with on.service.database.write() as session:
        old = keys.create(session, TENANT, "a client")
    on.start("web", require_keys=True)
    variables = on.service.settings.variables

    def entered(*words: str) -> str:
        done = CliRunner(env=variables).invoke(cli, words)
        assert done.exit_code == 0, done.output
        return done.stdout

    def statuses() -> list[int]:
        return [get(f"{on.url}/api/v1/jobs", Authorization=f"Bearer {each}").status_code for each in (old, new)]

    old_id = old.split("_")[1]
    new = entered("keys", "rotate", old_id).split()[-1]
    assert statuses() == [200, 200]
    entered("keys", "revoke", old_id)
    eventually(lambda: statuses() == [401, 200])
