"""Sign the provenance that images.py writes, and verify it.

    python deploy/provenance.py sign --key private.pem dist/web.provenance.json
    python deploy/provenance.py verify --key public.pem --image sha256:… dist/web.provenance.intoto.jsonl

`sign` writes the statement in an envelope of DSSE (https://github.com/secure-systems-lab/dsse) to a file that ends in
`.intoto.jsonl`, beside the statement. A key is a PEM file of Ed25519, ECDSA or RSA; the password of a private key is
in PROVENANCE_KEY_PASSWORD. Both commands need the package `securesystemslib[crypto]`.
"""  # noqa: INP001 - a script, in no package

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey  # pyright: ignore[reportPrivateImportUsage] - documented so

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT: Final = "https://in-toto.io/Statement/v1"
PROVENANCE: Final = "https://slsa.dev/provenance/v1"
PASSWORD: Final = "PROVENANCE_KEY_PASSWORD"  # noqa: S105 - a variable's name


class Refused(Exception):
    """The provenance is not what the key's holder signed, or is of another image."""


def signer_of(key: Path, password: str | None) -> CryptoSigner:
    """The signer with a private key. Raises OSError, and ValueError if the file is no such key."""
    try:
        return CryptoSigner(load_pem_private_key(key.read_bytes(), password.encode() if password else None))
    except (TypeError, UnsupportedAlgorithm) as error:
        # TypeError: a password is missing, or there is none to ask for.
        raise ValueError(str(error)) from error


def signed(statement: bytes, signer: CryptoSigner) -> str:
    """The envelope of a statement, as one line of JSON."""
    envelope = Envelope(statement, PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return json.dumps(cast("Any", envelope).to_dict()) + "\n"


def verified(envelope: str, public_key: bytes, image: str) -> dict[str, Any]:
    """The statement in an envelope, if this key signed it and it is about this image.

    `image` is `sha256:` and the digest of the image's manifest or of its configuration. Raises Refused.
    """
    try:
        opened: Envelope = cast("Any", Envelope).from_dict(json.loads(envelope))
        opened.verify([SSlibKey.from_crypto(load_pem_public_key(public_key))], 1)
        statement = json.loads(opened.payload)
        subjects: list[dict[str, Any]] = statement["subject"]
        digests = {f"sha256:{each['digest']['sha256']}" for each in subjects}
        digests |= {each["annotations"]["imageId"] for each in subjects}
        kind = (opened.payload_type, statement["_type"], statement["predicateType"])
    except (VerificationError, UnsupportedAlgorithm, ValueError, KeyError, TypeError) as error:
        raise Refused(f"not signed by this key: {error}") from error
    if kind != (PAYLOAD_TYPE, STATEMENT, PROVENANCE):
        raise Refused(f"signed, but no provenance: {', '.join(kind)}")
    if image not in digests:
        raise Refused(f"signed, but for another image: {', '.join(sorted(digests))}")
    return statement


def main(arguments: Sequence[str] | None = None) -> int:
    """Sign or verify; 1 if it is refused, with the reason on standard error."""
    parser = argparse.ArgumentParser(description="Sign the provenance of images, and verify it.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    sign = commands.add_parser("sign", help="sign statements; without one, only try the key")
    sign.add_argument("--key", type=Path, required=True, help="private key")
    sign.add_argument("statements", type=Path, nargs="*")
    verify = commands.add_parser("verify", help="verify an envelope")
    verify.add_argument("--key", type=Path, required=True, help="public key")
    verify.add_argument("--image", required=True, help="sha256:… of the image's manifest or configuration")
    verify.add_argument("envelope", type=Path)
    given = parser.parse_args(arguments)
    try:
        if given.command == "sign":
            _sign(signer_of(given.key, os.environ.get(PASSWORD)), given.statements)
        else:
            statement = verified(given.envelope.read_text("utf-8"), given.key.read_bytes(), given.image)
            sys.stdout.write(json.dumps(statement, indent=2) + "\n")
    except (OSError, ValueError, Refused) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _sign(signer: CryptoSigner, statements: Sequence[Path]) -> None:
    for file in statements:
        envelope = file.with_suffix(".intoto.jsonl")
        envelope.write_text(signed(file.read_bytes(), signer), "utf-8")
        sys.stdout.write(f"Signed {file}: {envelope}, key {signer.public_key.keyid}\n")


if __name__ == "__main__":
    sys.exit(main())
