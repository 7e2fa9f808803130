"""Signed provenance: what another key signed, what was changed, and what is about another image is refused."""

from __future__ import annotations

import base64
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from tests.unit.project.test_deploy import ROOT
from tests.unit.project.test_provenance import build_of, images, statement

SPEC = importlib.util.spec_from_file_location("deploy_provenance", ROOT / "deploy" / "provenance.py")
assert SPEC is not None
assert SPEC.loader is not None
provenance: Any = importlib.util.module_from_spec(SPEC)
sys.modules["deploy_provenance"] = provenance
SPEC.loader.exec_module(provenance)

MANIFEST, CONFIGURATION = "sha256:" + "a" * 64, "sha256:" + "b" * 64
KEYS: dict[str, Callable[[], Any]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}


def key_files(folder: Path, key: Any, password: bytes | None = None) -> tuple[Path, Path]:
    private, public = folder / "private.pem", folder / "public.pem"
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def signed(folder: Path, private: Path, made: Any) -> Path:
    file = folder / "web.provenance.json"
    file.write_text(json.dumps(made))
    assert provenance.main(["sign", "--key", str(private), str(file)]) == 0
    return folder / "web.provenance.intoto.jsonl"


def verify(public: Path, envelope: Path, image: str) -> int:
    return provenance.main(["verify", "--key", str(public), "--image", image, str(envelope)])


@pytest.mark.parametrize("kind", KEYS)
def test_a_signed_statement_is_verified_by_the_public_key(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private, public = key_files(tmp_path, KEYS[kind]())
    envelope = signed(tmp_path, private, statement("web"))
    capsys.readouterr()
    for image in (MANIFEST, CONFIGURATION):
        assert verify(public, envelope, image) == 0
        assert json.loads(capsys.readouterr().out) == statement("web")
    assert len(envelope.read_text().splitlines()) == 1, "JSON lines: one envelope a line"


def test_the_signature_is_of_dsses_encoding_of_the_statement_and_its_type(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    content = json.loads(signed(tmp_path, key_files(tmp_path, key)[0], statement("web")).read_text())
    payload, kind = base64.b64decode(content["payload"]), b"application/vnd.in-toto+json"
    assert (content["payloadType"].encode(), json.loads(payload)) == (kind, statement("web"))
    encoded = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    [signature] = content["signatures"]
    key.public_key().verify(base64.b64decode(signature["sig"]), encoded, ec.ECDSA(hashes.SHA256()))


def test_another_key_a_changed_statement_and_another_image_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private, public = key_files(tmp_path, KEYS["ed25519"]())
    envelope = signed(tmp_path, private, statement("web"))
    assert verify(public, envelope, "sha256:" + "c" * 64) == 1
    assert "another image" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    assert verify(key_files(tmp_path / "other", KEYS["ed25519"]())[1], envelope, MANIFEST) == 1
    content = json.loads(envelope.read_text())
    changed = base64.b64decode(content["payload"]).replace(b"a" * 64, b"c" * 64)
    parts: list[dict[str, Any]] = [{"payload": base64.b64encode(changed).decode()}, {"payloadType": "text/plain"}]
    parts.append({"signatures": []})
    for part in parts:
        envelope.write_text(json.dumps(content | part))
        assert [verify(public, envelope, image) for image in (MANIFEST, "sha256:" + "c" * 64)] == [1, 1], part
        assert "not signed by this key" in capsys.readouterr().err


def test_a_signed_statement_that_is_no_provenance_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private, public = key_files(tmp_path, KEYS["ed25519"]())
    envelope = signed(tmp_path, private, statement("web") | {"predicateType": "https://spdx.dev/Document"})
    assert verify(public, envelope, MANIFEST) == 1
    assert "no provenance" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"payload": "", "payloadType": "x", "signatures": [3]}'])
def test_what_is_no_envelope_is_refused(text: str, tmp_path: Path) -> None:
    _, public = key_files(tmp_path, KEYS["ed25519"]())
    (tmp_path / "envelope").write_text(text)
    assert verify(public, tmp_path / "envelope", MANIFEST) == 1


def test_a_private_key_may_have_a_password_which_is_in_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    private, public = key_files(tmp_path, KEYS["ecdsa"](), b"secret")
    assert provenance.main(["sign", "--key", str(private)]) == 1
    assert "Password was not given" in capsys.readouterr().err
    monkeypatch.setenv("PROVENANCE_KEY_PASSWORD", "wrong")
    assert provenance.main(["sign", "--key", str(private)]) == 1
    monkeypatch.setenv("PROVENANCE_KEY_PASSWORD", "secret")
    assert verify(public, signed(tmp_path, private, statement("web")), MANIFEST) == 0


def test_a_build_is_signed_with_a_key_and_says_that_it_is_not_without_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    private, public = key_files(tmp_path, KEYS["ed25519"]())
    envelope = tmp_path / "web.provenance.intoto.jsonl"
    build = build_of("web")
    assert images.write_provenance(build, tmp_path, str(private)) == 0
    assert verify(public, envelope, MANIFEST) == 0
    assert "not signed" not in capfd.readouterr().out
    # That envelope would be of an earlier build.
    assert images.write_provenance(build, tmp_path, None) == 0
    assert not envelope.exists()
    assert "not signed" in capfd.readouterr().out


def test_a_key_that_cannot_sign_ends_the_build_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    built: list[str] = []

    def build_image(image: str, base: str, more: list[str]) -> None:
        built.append(f"{image} on {base} {more}")

    monkeypatch.setattr(images, "build_image", build_image)
    monkeypatch.setattr(sys, "argv", ["images.py", "--key", str(tmp_path / "missing.pem")])
    assert images.main() == 1
    assert built == []
    assert "missing.pem" in capfd.readouterr().err
