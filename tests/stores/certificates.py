"""A certificate authority for one test, and certificates of servers."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.stores import programs


class Certificate(NamedTuple):
    """The files of a certificate, its key, and the authority that signed it."""

    certificate: Path
    key: Path
    authority: Path


def make_certificate(folder: Path, name: str = "server", address: str = "IP:127.0.0.1") -> Certificate:
    """Make an authority and a certificate for `address` with openssl."""
    folder.mkdir(exist_ok=True)
    authority, authority_key = folder / f"{name}-ca.pem", folder / f"{name}-ca.key"
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    common = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    common += ["-days", "2"]
    usage = ["-addext", "keyUsage=critical,keyCertSign"]
    _run(*common, "-subj", f"/CN={name} authority", *usage, "-keyout", authority_key, "-out", authority)
    signed = ["-CA", authority, "-CAkey", authority_key, "-addext", f"subjectAltName={address}"]
    signed += ["-addext", "basicConstraints=critical,CA:FALSE"]
    _run(*common, "-subj", f"/CN={name}", *signed, "-keyout", key, "-out", certificate)
    key.chmod(0o600)
    programs.give_to_server(key)
    return Certificate(certificate, key, authority)


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
