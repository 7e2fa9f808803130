"""Signed provenance: what C2PA's own reader says of our files, and which certificates are refused at the start."""

from __future__ import annotations

import functools
import hashlib
import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from limner_client.cli.main import cli
from limner_client.local.doctor import certificate_checks
from limner_client.local.embedded_valkey import free_port
from limner_client.local.findings import State
from limner_shared.c2pa_signing import PAUSE_SECONDS, PictureSigner, is_signed
from limner_shared.db.ledger import Claim
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, Lane
from limner_shared.domain.safety import SOURCE_TYPE, TenantPolicy
from limner_shared.errors import ConfigurationError, SigningFailed, SigningUnavailable
from limner_shared.metrics import exposition
from limner_shared.settings import Settings
from limner_shared.storage.blobs import Blobs
from limner_web.a1111 import infotext
from limner_web.pictures.renditions import Rendition, Renditions
from limner_web.serving.offload import OffloadPool
from limner_worker.engine.job_run import JobRun
from limner_worker.stages.picture_files import PictureEncoder, encode_png
from limner_worker.stages.provenance import PNG_KEY
from limner_worker.stages.safety import SafetyStage

c2pa = pytest.importorskip("c2pa", reason="the extra `c2pa` is not installed")

PICTURE = np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3).astype(np.uint8)


def make_certificate(folder: Path, *options: str) -> Settings:
    made = CliRunner().invoke(cli, ["c2pa", "new-certificate", str(folder), "--organization", "Example Ltd", *options])
    assert made.exit_code == 0, made.output
    return Settings(c2pa_certificate=folder / "certificate.pem", c2pa_key=folder / "key.pem")


class NamedPool(OffloadPool):
    """Records the functions that it calls."""

    def __init__(self) -> None:
        super().__init__(1)
        self.called: list[str] = []

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        self.called.append(getattr(function, "func", function).__name__)
        return super().call(function, *args, **kwargs)


def renditions_of(blobs: Blobs, signer: PictureSigner) -> Renditions:
    return Renditions(blobs, OffloadPool(1), OffloadPool(1), OffloadPool(1), signer)


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with a certificate of one's own."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def signer(certified: Settings) -> PictureSigner:
    found = PictureSigner.of(certified)
    assert found is not None
    return found


def read(data: bytes, kind: str = "image/png") -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The active manifest of a valid file, by C2PA's own reader, and its actions."""
    with c2pa.Reader(kind, io.BytesIO(data)) as reader:
        assert reader.get_validation_state() == "Valid"
        manifest: dict[str, Any] = reader.get_active_manifest()
    [actions] = [each["data"]["actions"] for each in manifest["assertions"] if each["label"] == "c2pa.actions.v2"]
    return manifest, actions


def job(catalogue: Catalogue, tenant: TenantPolicy | None = None, **request: Any) -> JobRun:
    _, spec = catalogue.resolve(JobRequest.model_validate({"prompt": "a secret cat"} | request))
    run = JobRun(Claim("job_1", "t", None, 1, 2, Lane.NORMAL, spec, tenant=tenant or TenantPolicy()), lambda: None)
    run.rows[0].picture = PICTURE
    return run


def encoder(settings: Settings, **changes: Any) -> PictureEncoder:
    changed = settings.model_copy(update=changes)
    return PictureEncoder.of(changed, SafetyStage(changed, {}))


def test_c2pas_own_reader_finds_that_a_model_made_the_picture(certified: Settings, catalogue: Catalogue) -> None:
    [(png, image)] = encoder(certified, c2pa="on").encode(job(catalogue), {})
    manifest, [action] = read(png)
    assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", SOURCE_TYPE)
    assert action["softwareAgent"]["name"] == "limner-flow"
    assert manifest["signature_info"]["issuer"] == "Example Ltd"
    assert b"secret" not in png
    assert image.sha256 == hashlib.sha256(png).hexdigest(), "the receipt is of the bytes that are stored"
    assert image.size_bytes == len(png)


def test_the_receipt_has_the_digest_of_the_unsigned_file_which_a_replay_reproduces(
    certified: Settings, catalogue: Catalogue
) -> None:
    request: dict[str, Any] = {"seed": 5, "style": "flat"}
    [(_, first)] = encoder(certified, c2pa="on").encode(job(catalogue, **request), {})
    [(_, again)] = encoder(certified, c2pa="on").encode(job(catalogue, **request), {})
    [(plain, unsigned)] = encoder(certified).encode(job(catalogue, **request), {})
    assert first.sha256 != again.sha256
    assert first.receipt["c2pa"] == again.receipt["c2pa"] == {"unsigned_sha256": hashlib.sha256(plain).hexdigest()}
    assert "c2pa" not in unsigned.receipt


def test_an_authority_for_time_stamps_that_is_away_prevents_no_start_and_is_not_asked_each_time(
    certified: Settings, catalogue: Catalogue
) -> None:
    signs = encoder(certified, c2pa="on", c2pa_timestamp_url=f"http://127.0.0.1:{free_port()}/")
    run = job(catalogue)
    assert signs.outage(run.claim) is None
    with pytest.raises(SigningUnavailable, match="could not be signed"):
        signs.encode(run, {})
    with pytest.raises(SigningUnavailable, match="tried again soon"):
        signs.encode(run, {})
    error = signs.outage(run.claim)
    assert error is not None
    assert 0 < error.details["retry_after"] <= PAUSE_SECONDS
    assert signs.outage(job(catalogue, TenantPolicy(sign_pictures=False)).claim) is None


def test_a_picture_that_cannot_be_signed_does_not_keep_others_from_being_signed(certified: Settings) -> None:
    signer = PictureSigner.of(certified)
    assert signer is not None
    with pytest.raises(SigningFailed) as raised:
        signer.created(b"no picture", "limner-flow")
    assert not raised.value.is_awaited
    assert signer.outage() is None
    assert is_signed(signer.created(encode_png(PICTURE), "limner-flow"))


def test_the_signed_file_keeps_its_pixels_and_its_other_provenance(signer: PictureSigner) -> None:
    signed = signer.created(encode_png(PICTURE, "<x/>"), "limner-flow")
    with Image.open(io.BytesIO(signed)) as picture:
        assert picture.info[PNG_KEY] == "<x/>"
        assert np.array_equal(np.asarray(picture), PICTURE)


def test_a_changed_pixel_is_found(signer: PictureSigner) -> None:
    signed = bytearray(signer.created(encode_png(PICTURE), "limner-flow"))
    place = signed.rindex(b"IDAT") + 20
    signed[place] ^= 1
    with c2pa.Reader("image/png", io.BytesIO(bytes(signed))) as reader:
        assert reader.get_validation_state() == "Invalid"


def test_the_pictures_that_a_job_was_given_are_ingredients(certified: Settings, catalogue: Catalogue) -> None:
    run = job(catalogue)
    task = run.rows[0].task
    task.image, task.mask, task.control_image, task.reference_images = (
        PICTURE[::-1],
        PICTURE,
        PICTURE[:, ::-1],
        (PICTURE,),
    )
    [(png, _)] = encoder(certified, c2pa="on").encode(run, {})
    manifest, [action] = read(png)
    assert action["action"] == "c2pa.created"
    assert {(each["title"], each["relationship"]) for each in manifest["ingredients"]} == {
        (name, "inputTo") for name in ("source", "mask", "control", "reference-1")
    }


@pytest.mark.parametrize(("kind", "media_type"), [("webp", "image/webp"), ("jpeg", "image/jpeg"), ("png", "image/png")])
def test_a_rendition_is_signed_again_and_names_the_original(
    signer: PictureSigner, tmp_path: Path, kind: str, media_type: str
) -> None:
    blobs = Blobs(tmp_path.as_uri())
    digest = blobs.put(signer.created(encode_png(PICTURE), "limner-flow"))
    made = renditions_of(blobs, signer).get("tenant_1", digest, Rendition(kind, 32))
    manifest, actions = read(made, media_type)
    assert [action["action"] for action in actions] == ["c2pa.opened", "c2pa.transcoded"]
    assert actions[1]["digitalSourceType"] == SOURCE_TYPE
    assert [each["relationship"] for each in manifest["ingredients"]] == ["parentOf"]


@pytest.mark.parametrize(("kind", "media_type"), [("png", "image/png"), ("jpeg", "image/jpeg"), ("webp", "image/webp")])
def test_a_file_with_the_settings_of_a1111_is_signed_again(
    signer: PictureSigner, tmp_path: Path, kind: str, media_type: str
) -> None:
    renditions = renditions_of(Blobs(tmp_path.as_uri()), signer)
    stored = signer.created(encode_png(PICTURE), "limner-flow")
    writer = functools.partial(infotext.as_file, kind=kind, text="a cat\nSteps: 4")
    made = renditions.write("tenant_1", stored, kind, writer)
    assert infotext.text_in(made)[0] == "a cat\nSteps: 4"
    _, actions = read(made, media_type)
    assert [action["action"] for action in actions] == ["c2pa.opened", "c2pa.transcoded"]


def test_pictures_are_signed_on_threads_of_their_own_because_an_authority_may_not_respond(
    signer: PictureSigner, tmp_path: Path
) -> None:
    storage, pillow, signing = NamedPool(), NamedPool(), NamedPool()
    blobs = Blobs(tmp_path.as_uri())
    stored = signer.created(encode_png(PICTURE), "limner-flow")
    renditions = Renditions(blobs, storage, pillow, signing, signer)
    renditions.get("tenant_1", blobs.put(stored), Rendition("webp", 32))
    renditions.convert("tenant_1", stored, "jpeg", 80, None)
    renditions.write("tenant_1", stored, "png", functools.partial(infotext.as_file, kind="png", text="a cat"))
    assert pillow.called == ["convert", "convert", "as_file"]
    assert signing.called == ["converted"] * 3


def test_a_rendition_of_an_unsigned_picture_is_not_signed(signer: PictureSigner, tmp_path: Path) -> None:
    blobs = Blobs(tmp_path.as_uri())
    digest = blobs.put(encode_png(PICTURE))
    assert not is_signed(renditions_of(blobs, signer).get("tenant_1", digest, Rendition("png", 32)))


def test_a_tenant_may_want_other_than_the_service(certified: Settings, catalogue: Catalogue) -> None:
    wants, refuses = TenantPolicy(sign_pictures=True), TenantPolicy(sign_pictures=False)
    [(signed, _)] = encoder(certified).encode(job(catalogue, wants), {})
    [(plain, _)] = encoder(certified, c2pa="on").encode(job(catalogue, refuses), {})
    assert is_signed(signed)
    assert not is_signed(plain)
    with pytest.raises(SigningFailed):
        encoder(Settings()).encode(job(catalogue, wants), {})


def test_by_default_nothing_is_signed(certified: Settings, catalogue: Catalogue) -> None:
    [(png, _)] = encoder(certified).encode(job(catalogue), {})
    assert not is_signed(png)
    assert PictureSigner.of(Settings()) is None


def test_signing_without_a_certificate_is_refused_at_the_start(certified: Settings) -> None:
    for settings in (Settings(c2pa="on"), Settings(c2pa_key=certified.c2pa_key)):
        with pytest.raises(ConfigurationError, match="LIMNER_C2PA"):
            PictureSigner.of(settings)


def test_files_that_do_not_fit_are_refused_at_the_start(certified: Settings, tmp_path: Path) -> None:
    other = make_certificate(tmp_path / "other")
    assert certified.c2pa_certificate is not None
    assert certified.c2pa_key is not None
    assert other.c2pa_certificate is not None
    assert other.c2pa_key is not None
    leaf_only = tmp_path / "not-pem"
    leaf_only.write_text("nothing")
    for certificate, key, why in (
        (certified.c2pa_certificate, other.c2pa_key, "is not the key"),
        (leaf_only, certified.c2pa_key, "not a certificate"),
        (certified.c2pa_certificate, leaf_only, "not a certificate"),
        (tmp_path / "none", certified.c2pa_key, "not a certificate"),
        (other.c2pa_certificate.parent / "authority.pem", other.c2pa_key, "is not the key"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            PictureSigner(certificate, key)


@pytest.mark.parametrize(("days", "state"), [(29, State.WARN), (32, State.OK)])
def test_the_end_of_the_certificate_is_a_metric_and_from_thirty_days_before_a_finding_of_the_doctor(
    tmp_path: Path, days: int, state: State
) -> None:
    settings = make_certificate(tmp_path, "--days", str(days))
    [found] = certificate_checks(settings)
    ends_at = datetime.now(UTC) + timedelta(days=days)
    assert (found.state, bool(found.advice)) == (state, state is State.WARN)
    assert re.search(r"until (.*)", found.found).group(1) in {f"{ends_at - timedelta(days=n):%Y-%m-%d}" for n in (0, 1)}
    encoder(settings)
    name = f'limner_certificate_end_timestamp_seconds{{file="{settings.c2pa_certificate}"}} '
    [line] = [line for line in exposition.render()[0].decode().splitlines() if line.startswith(name)]
    assert abs(float(line.removeprefix(name)) - ends_at.timestamp()) < 2 * 3600


def test_the_doctor_fails_a_certificate_that_cannot_sign_and_is_silent_without_one(tmp_path: Path) -> None:
    settings = make_certificate(tmp_path).model_copy(update={"c2pa_key": tmp_path / "none.pem"})
    assert [check.state for check in certificate_checks(settings)] == [State.FAIL]
    assert [check.state for check in certificate_checks(Settings(c2pa="on"))] == [State.FAIL]
    assert list(certificate_checks(Settings())) == []


def test_a_new_certificate_never_replaces_another_and_its_key_is_private(tmp_path: Path) -> None:
    settings = make_certificate(tmp_path)
    assert settings.c2pa_key is not None
    assert settings.c2pa_key.stat().st_mode & 0o077 == 0
    again = CliRunner().invoke(cli, ["c2pa", "new-certificate", str(tmp_path), "--organization", "Other"])
    assert again.exit_code == 1
    assert "exists already" in again.output
