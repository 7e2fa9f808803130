"""`limner support-bundle` and its redaction: what is taken out, and that a broken installation still gives a bundle."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner, Result

from limner_client.cli.main import cli
from limner_client.local.doctor import DEVICE_PROGRAM
from limner_client.local.embedded_valkey import free_port
from limner_client.operations import support_bundle
from limner_client.operations.redaction import REDACTED, Redaction
from limner_shared.db.accounts import keys
from limner_shared.db.engine import Database
from limner_shared.db.signed_links import SignedLinks
from limner_shared.domain.ids import new_id
from limner_shared.domain.webhooks import new_secret
from limner_shared.settings import Settings

ODD = 'p@ss/wörd "7"'


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://limner:hidden77@db/limner: connection refused",
        "could not connect to postgresql://someone:other-hidden77@host",
        "GET http://llm/v1?api_key=hidden77&x=1",
        "Authorization: Bearer hidden77.abc",
        "authorization: basic aGlkZGVuNzc3",
        "-----BEGIN PRIVATE KEY-----\nhidden77\n-----END PRIVATE KEY-----",
        "-----BEGIN EC PRIVATE KEY-----\nhidden77 and the log ends here",
        f"quoted: {quote(ODD, safe='')} plain: {ODD} json: {json.dumps(ODD)} repr: {ODD!r}",
        "an S3 key: s3-hidden77",
    ],
)
def test_secrets_are_redacted_in_every_place_and_form(text: str) -> None:
    settings = Settings(database_url="postgresql://limner:hidden77@db/limner", llm_key=ODD)
    shown = Redaction(settings, {"AWS_SECRET_ACCESS_KEY": "s3-hidden77", "LIMNER_REQUIRE_KEYS": "true"})(text)
    for secret in ("hidden77", "aGlkZGVu", "wörd", quote("wörd"), "w\\u00f6rd"):
        assert secret not in shown
    assert REDACTED in shown


@pytest.mark.parametrize("cell", ["", "west2"])
def test_keys_of_the_service_are_redacted_by_their_form(database: Database, cell: str) -> None:
    with database.write() as session:
        key = keys.create(session, "local", "marked", cell=cell)
    secret = new_secret()
    shown = Redaction(Settings(), {})(f"{key} {secret} jobs=true model=limner-flow ?limit=20")
    assert shown == f"{REDACTED} {REDACTED} jobs=true model=limner-flow ?limit=20"


@pytest.mark.parametrize("cell", ["", "west2"])
def test_signed_links_are_redacted_by_their_form(database: Database, cell: str) -> None:
    path, _ = SignedLinks(Settings(cell=cell), database).make(new_id("img"), 60)
    kept = "/api/v1/images/img_01arz3ndektsv4rrffq69g5fav?format=png /docs/images/gallery.png"
    assert Redaction(Settings(), {})(f"path={path} {kept}") == f"path=/images/{REDACTED} {kept}"


def test_of_a_secret_setting_only_whether_it_is_set_is_shown() -> None:
    settings = Settings(
        llm_key="hidden77",
        accepted_signing_keys=("hidden44", "hidden55"),
        redis_url="redis://:hidden88@cache:6379/1",
        llm_url="http://u:hidden99@llm/v1?token=hidden66",
    )
    redact = Redaction(settings, {})
    assert redact("the keys hidden44 and hidden55") == f"the keys {REDACTED} and {REDACTED}"
    shown = redact.settings(settings)
    assert [shown[f"LIMNER_{name}"] for name in ("LLM_KEY", "ACCEPTED_SIGNING_KEYS", "SIGNING_KEY")] == [
        "set",
        "set",
        "not set",
    ]
    assert shown["LIMNER_REDIS_URL"] == f"redis://{REDACTED}@cache:6379/1"
    assert shown["LIMNER_LLM_URL"] == f"http://{REDACTED}@llm/v1?token={REDACTED}"
    assert shown["LIMNER_SLOTS"] == 16
    assert "hidden" not in json.dumps(shown)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str) -> Path:
    """A folder of an installation, as the command's environment names it."""
    monkeypatch.setattr("limner_client.local.doctor.DEVICE_PROGRAM", "print('cpu')")
    assert "torch" in DEVICE_PROGRAM
    for name, value in {"DATA_DIR": tmp_path / "data", "REDIS_URL": redis_url, "PORT": free_port()}.items():
        monkeypatch.setenv(f"LIMNER_{name}", str(value))
    return tmp_path


def bundle(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["support-bundle", "-o", str(folder / "out.zip"), *words])


def parts(folder: Path) -> dict[str, str]:
    with zipfile.ZipFile(folder / "out.zip") as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_a_broken_installation_gives_a_bundle_that_says_what_is_missing(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMNER_DATABASE_URL", f"postgresql://limner:hidden77@127.0.0.1:{free_port()}/limner")
    monkeypatch.setenv("LIMNER_REDIS_URL", f"redis://:hidden88@127.0.0.1:{free_port()}/0")
    written = bundle(run)
    assert written.exit_code == 0, written.output
    found = parts(run)
    missing = json.loads(found["missing.json"])
    stores = {"schema.json", "vacuum.json", "queues.json", "processes.json", "redis.json"}
    assert stores | {"metrics/web.txt", "metrics/targets.json"} == set(missing)
    assert {"versions.json", "settings.json", "findings.json", "README.txt"} <= set(found)
    assert "hidden" not in "".join([*found.values(), written.output])
    assert stat.S_IMODE((run / "out.zip").stat().st_mode) == 0o600
    again = bundle(run)
    assert again.exit_code == 2
    assert "--output" in again.output


def test_only_the_ends_of_logs_are_taken_and_two_of_one_name_are_kept(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(support_bundle, "MAX_LOG_BYTES", 1000)
    own = run / "data" / "logs" / "web.log"
    own.parent.mkdir(parents=True)
    own.write_text("old line\n" * 500 + "the last line\n")
    other = run / "web.log"
    other.write_bytes(b"\xff not text\nBearer hidden77\n")
    written = bundle(run, "--log", str(other))
    assert written.exit_code == 0, written.output
    logs = {name: text for name, text in parts(run).items() if name.startswith("logs/")}
    assert len(logs) == 2
    first, second = logs.values()
    assert first.startswith("old line\n")
    assert first.endswith("the last line\n")
    assert len(first) <= 1000
    assert "hidden77" not in second
