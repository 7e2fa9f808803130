"""`limner c2pa`: certificates for signed provenance."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SKEW: Final = timedelta(minutes=5)
"""A new certificate is valid on machines whose clocks are late by this much."""


@click.group()
def c2pa() -> None:
    """Make certificates for signed provenance."""


@c2pa.command("new-certificate")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--organization", required=True, help="Who signs: the name that readers of a manifest see.")
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="How long it is valid.")
def new_certificate(folder: Path, organization: str, days: int) -> None:
    """Write a new authority and a certificate that it has signed to FOLDER.

    Readers show such a signature as valid, but of an unknown signer, unless they trust `authority.pem`. The authority's
    own key is not kept: make a new pair before this one ends.
    """
    authority, leaf, key = _pair(organization, days)
    folder.mkdir(parents=True, exist_ok=True)
    _write_new(folder / "key.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    _write_new(folder / "certificate.pem", leaf.public_bytes(Encoding.PEM) + authority.public_bytes(Encoding.PEM))
    _write_new(folder / "authority.pem", authority.public_bytes(Encoding.PEM))
    click.echo(f"LIMNER_C2PA_CERTIFICATE={folder / 'certificate.pem'}")
    click.echo(f"LIMNER_C2PA_KEY={folder / 'key.pem'}")


def _pair(organization: str, days: int) -> tuple[x509.Certificate, x509.Certificate, ec.EllipticCurvePrivateKey]:
    """An authority, a certificate that it signed, and the certificate's key."""
    issuer, issuer_key = _name(organization, "Content Authority"), ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    authority = (
        _begun(issuer, issuer, issuer_key.public_key(), issuer_key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(of_authority=True), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
    leaf = (
        _begun(_name(organization, "Limner"), issuer, key.public_key(), issuer_key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(of_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return authority, leaf, key


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    days: int,
) -> x509.CertificateBuilder:
    start = datetime.now(UTC) - SKEW
    return (
        x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number(), start, start + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _name(organization: str, purpose: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{organization} {purpose}"[:64]),
        ]
    )


def _usage(*, of_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not of_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=of_authority,
        crl_sign=of_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _write_new(file: Path, content: bytes) -> None:
    """Write a file that only its owner can read; an existing one is never replaced."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise click.ClickException(f"{file} exists already: name another folder, or remove it first.") from error
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
