"""Signed provenance: C2PA manifests in picture files (the extra `c2pa`). Off unless a certificate is set."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from limner_shared.c2pa_manifests import manifest_in
from limner_shared.circuit_breaker import Breaker, BreakerState
from limner_shared.domain.safety import SOURCE_TYPE
from limner_shared.errors import ConfigurationError, SigningFailed, SigningUnavailable
from limner_shared.settings import Settings

PAUSE_SECONDS: Final = 10.0
LONGEST_PAUSE_SECONDS: Final = 300.0
OPTIONS: Final = {
    "builder": {"thumbnail": {"enabled": False}},  # the picture itself is in the file: a thumbnail doubles the size
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}

OPENED: Final = {"action": "c2pa.opened"}
TRANSCODED: Final = {"action": "c2pa.transcoded"}

Actions = Sequence[Mapping[str, str | Mapping[str, str]]]
"""What was done to a picture, in this order; the first action is done to the sources."""


@dataclass(frozen=True, slots=True)
class Ingredient:
    """A picture that another one was made from. A `parent` is the same picture in another form."""

    data: bytes
    media_type: str
    parent: bool = False
    name: str = "source"


class PictureSigner:
    """Signs pictures with one certificate. Safe for several threads. Nothing valid can be signed after `ends_at`.

    While nothing can be signed, because the certificate has ended or the authority for time stamps is away, it is tried
    only now and then, by one thread at a time: an authority may take half a minute to fail.
    """

    def __init__(self, certificate: Path, key: Path, timestamp_url: str = "") -> None:
        """Read the certificate and its key, and sign a test picture without a time stamp: a start depends on no other
        service. Raises ConfigurationError.
        """
        chain, private, algorithm, self.ends_at = _read_pair(certificate, key)
        try:
            c2pa: Any = import_module("c2pa")  # an extra, which few installations have
            self._c2pa = c2pa
            self._info: Any = c2pa.C2paSignerInfo(algorithm, chain, private, None)
            self._context: Any = c2pa.Context.from_dict(OPTIONS)
        except ModuleNotFoundError as error:
            raise _missing(error) from error
        self._timestamped_info: Any = None
        if timestamp_url:
            self._timestamped_info = c2pa.C2paSignerInfo(algorithm, chain, private, timestamp_url.encode())
        self._signers = threading.local()
        self._breaker = Breaker(1, PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self._trial = threading.Lock()
        try:
            self._sign_probe()
        except c2pa.C2paError as error:
            raise ConfigurationError(f"LIMNER_C2PA_CERTIFICATE: {certificate} cannot sign: {error}") from error

    @classmethod
    def of(cls, settings: Settings) -> PictureSigner | None:
        """The signer of the settings' certificate; None if none is set. Raises ConfigurationError."""
        if settings.c2pa_certificate is None or settings.c2pa_key is None:
            if settings.c2pa == "on" or settings.c2pa_certificate != settings.c2pa_key:
                raise ConfigurationError("LIMNER_C2PA: set both LIMNER_C2PA_CERTIFICATE and LIMNER_C2PA_KEY.")
            return None
        return cls(settings.c2pa_certificate, settings.c2pa_key, settings.c2pa_timestamp_url)

    def outage(self) -> SigningUnavailable | None:
        """The error of a picture that is to be signed now, if it is known that nothing can be; otherwise None."""
        if self._breaker.state is not BreakerState.OPEN:
            return None
        seconds = round(self._breaker.open_seconds, 1)
        return SigningUnavailable("Pictures cannot be signed now; it is tried again soon.", retry_after=seconds)

    def created(self, png: bytes, model: str, *sources: Ingredient) -> bytes:
        """A PNG of a model with a manifest that says so; `sources` are the pictures that the model was given.

        Raises SigningFailed, or SigningUnavailable if no other picture can be signed either.
        """
        return self._sign(png, "image/png", [_creation(model)], sources)

    def converted(self, data: bytes, media_type: str, original: bytes) -> bytes:
        """A rendition with a manifest of its own, whose parent is the signed PNG that it was made from.

        Raises SigningFailed, or SigningUnavailable if no other picture can be signed either.
        """
        parent = Ingredient(original, "image/png", parent=True)
        return self._sign(data, media_type, [OPENED, {**TRANSCODED, "digitalSourceType": SOURCE_TYPE}], [parent])

    def fitted(self, png: bytes, original: bytes, media_type: str) -> bytes:
        """A start picture as a job gets it, with a manifest whose parent is the signed file that a client sent.

        It is returned as it is if the file's manifest cannot be read. It has no time stamp: no client gets it, and the
        authority must not delay a request.
        """
        parent = Ingredient(original, media_type, parent=True)
        try:
            return self._signed(png, "image/png", [OPENED, TRANSCODED, {"action": "c2pa.resized"}], [parent])
        except self._c2pa.C2paError:
            return png

    def _sign(self, data: bytes, media_type: str, actions: Actions, sources: Sequence[Ingredient]) -> bytes:
        if (outage := self.outage()) is not None:
            raise outage
        is_trial = self._breaker.state is BreakerState.TRIAL
        if is_trial and not self._trial.acquire(blocking=False):
            raise SigningUnavailable("Pictures cannot be signed now; it is being tried.", retry_after=PAUSE_SECONDS)
        try:
            signed = self._signed(data, media_type, actions, sources, timestamped=True)
        except self._c2pa.C2paError as error:
            raise self._failure(error, lambda: self._signed(data, media_type, actions, sources)) from error
        finally:
            if is_trial:
                self._trial.release()
        self._breaker.succeeded()
        return signed

    def _failure(self, error: Exception, sign_without_time: Callable[[], object]) -> SigningFailed:
        """Which of the picture, the certificate and the authority is at fault; only the first is the picture's alone.

        Without a time stamp it is known at once: an authority may take half a minute to fail.
        """
        message = f"The picture could not be signed: {error}"
        if not self._succeeds(sign_without_time) and self._succeeds(self._sign_probe):
            return SigningFailed(message)
        self._breaker.failed(str(error))
        return SigningUnavailable(message, retry_after=max(PAUSE_SECONDS, self._breaker.open_seconds))

    def _succeeds(self, sign: Callable[[], object]) -> bool:
        try:
            sign()
        except self._c2pa.C2paError:
            return False
        return True

    def _sign_probe(self) -> None:
        self._signed(_test_picture(), "image/png", [_creation("limner")], ())

    def _signed(
        self,
        data: bytes,
        media_type: str,
        actions: Actions,
        sources: Sequence[Ingredient],
        *,
        timestamped: bool = False,
    ) -> bytes:
        given = {"parameters": {"ingredientIds": [each.name for each in sources]}} if sources else {}
        manifest: dict[str, Any] = {
            "claim_generator_info": [{"name": "Limner", "version": version("limner")}],
            "format": media_type,
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [{**actions[0], **given}, *actions[1:]]}}],
        }
        signed = io.BytesIO()
        with self._c2pa.Builder(manifest, self._context) as builder:
            for source in sources:
                builder.add_ingredient(_described(source), source.media_type, io.BytesIO(source.data))
            builder.sign(self._signer(timestamped=timestamped), media_type, io.BytesIO(data), signed)
        return signed.getvalue()

    def _signer(self, *, timestamped: bool) -> Any:
        """This thread's signer: the library's objects belong to one call at a time."""
        name = "timestamped" if timestamped and self._timestamped_info is not None else "plain"
        if not hasattr(self._signers, name):
            info = self._info if name == "plain" else self._timestamped_info
            setattr(self._signers, name, self._c2pa.Signer.from_info(info))
        return getattr(self._signers, name)


def is_signed(png: bytes) -> bool:
    """Whether a PNG has a manifest."""
    return manifest_in(png) is not None


def _creation(model: str) -> dict[str, str | Mapping[str, str]]:
    return {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE, "softwareAgent": {"name": model}}


def _described(source: Ingredient) -> Mapping[str, str]:
    relation = "parentOf" if source.parent else "inputTo"
    return {"relationship": relation, "instance_id": source.name, "title": source.name, "format": source.media_type}


def _read_pair(certificate: Path, key: Path) -> tuple[bytes, bytes, str, datetime]:
    """The PEM of a certificate chain and its private key, the algorithm, and when the first certificate of the chain to
    end does. Raises ConfigurationError.
    """
    try:
        from cryptography import x509  # noqa: PLC0415 - optional
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    try:
        chain, private = certificate.read_bytes(), key.read_bytes()
        certificates = x509.load_pem_x509_certificates(chain)
        leaf, ends_at = certificates[0], min(each.not_valid_after_utc for each in certificates)
        loaded = serialization.load_pem_private_key(private, None)
    except (OSError, ValueError, TypeError, IndexError) as error:
        reason = f"{certificate} and {key} are not a certificate and an unencrypted private key in PEM: {error}"
        raise ConfigurationError(f"LIMNER_C2PA_CERTIFICATE: {reason}") from error
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if leaf.public_key().public_bytes(*form) != loaded.public_key().public_bytes(*form):
        raise ConfigurationError(f"LIMNER_C2PA_KEY: {key} is not the key of the first certificate in {certificate}.")
    now = datetime.now(UTC)
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        dates = f"{leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}"
        raise ConfigurationError(f"LIMNER_C2PA_CERTIFICATE: {certificate} is valid from {dates}, not today.")
    if isinstance(loaded, ec.EllipticCurvePrivateKey) and loaded.key_size in (256, 384):
        return chain, private, f"es{loaded.key_size}", ends_at
    if isinstance(loaded, ed25519.Ed25519PrivateKey):
        return chain, private, "ed25519", ends_at
    if isinstance(loaded, rsa.RSAPrivateKey):
        return chain, private, "ps256", ends_at
    raise ConfigurationError(f"LIMNER_C2PA_KEY: {key}: use a key of the curves P-256, P-384 or Ed25519, or RSA.")


def _missing(error: ModuleNotFoundError) -> ConfigurationError:
    message = f"Signed provenance needs the extra `c2pa`: pip install 'limner[c2pa]' (no {error.name})."
    return ConfigurationError(message)


def _test_picture() -> bytes:
    from PIL import Image  # noqa: PLC0415 - only where something is signed

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()
