"""The chain of provenance from a signed file that a client sends to the picture that a job makes from it."""

from __future__ import annotations

import base64
import io
import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image
from tests.unit.worker.test_signed_provenance import PICTURE, c2pa, encoder, job, make_certificate

from limner_shared.c2pa_manifests import MAX_PARTS, PNG, manifest_in
from limner_shared.c2pa_signing import PictureSigner, is_signed
from limner_shared.domain.catalogue import Catalogue
from limner_shared.settings import Settings
from limner_shared.storage.blobs import Blobs
from limner_web.pictures import input_images
from limner_web.pictures.input_images import Inputs
from limner_web.serving.offload import OffloadPool
from limner_worker.stages.input_images import load_inputs

CAPTURE = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
IEND = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_certificate(tmp_path_factory.mktemp("service"))


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> PictureSigner:
    """Signs the file that a client sends: another certificate than the service has."""
    settings = make_certificate(tmp_path_factory.mktemp("camera"))
    assert settings.c2pa_certificate is not None
    assert settings.c2pa_key is not None
    return PictureSigner(settings.c2pa_certificate, settings.c2pa_key)


def file_of(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, kind)
    return buffer.getvalue()


def photo(camera: PictureSigner, kind: str) -> bytes:
    media_type = f"image/{kind}"
    return camera._signed(file_of(kind), media_type, [{"action": "c2pa.created", "digitalSourceType": CAPTURE}], ())


def drawn_from(data: bytes, kind: str, settings: Settings, catalogue: Catalogue, folder: Path) -> tuple[bytes, bytes]:
    """The stored input, and the picture that a worker makes, of a job that starts from a file."""
    blobs, url = Blobs(folder.as_uri()), f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    run = job(catalogue)
    inputs = Inputs(cast("Any", None), blobs, OffloadPool(1), OffloadPool(1), PictureSigner.of(settings))
    spec = inputs.store("tenant_1", run.claim.spec.model_copy(update={"image": url}))
    run.revise(replace(run.claim, spec=spec))
    run.rows[0].picture = PICTURE
    load_inputs(blobs, run)
    [(png, _)] = encoder(settings, c2pa="on").encode(run, {})
    assert spec.image is not None
    return blobs.get_input(spec.image), png


def chain(png: bytes) -> list[dict[str, Any]]:
    """The ingredients from the picture back to the first that has none, by C2PA's own reader."""
    with c2pa.Reader("image/png", io.BytesIO(png)) as reader:
        assert reader.get_validation_state() == "Valid"
        found = json.loads(reader.json())
    ingredients: list[dict[str, Any]] = []
    label: str | None = found["active_manifest"]
    while label is not None and (given := found["manifests"][label].get("ingredients")):
        ingredients.append(given[0])
        label = given[0].get("active_manifest")
    return ingredients


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_signed_file_of_a_client_is_at_the_end_of_the_chain(
    kind: str, camera: PictureSigner, certified: Settings, catalogue: Catalogue, tmp_path: Path
) -> None:
    sent = photo(camera, kind)
    stored, png = drawn_from(sent, kind, certified, catalogue, tmp_path)
    source, parent = chain(png)
    assert (source["title"], source["relationship"]) == ("source", "inputTo")
    assert (parent["format"], parent["relationship"]) == (f"image/{kind}", "parentOf")
    with c2pa.Reader(f"image/{kind}", io.BytesIO(sent)) as reader:
        assert parent["active_manifest"] == json.loads(reader.json())["active_manifest"]
    assert is_signed(stored)
    assert b"trainedAlgorithmicMedia" not in stored, "no model made the photo"


def test_a_picture_of_this_service_continues_its_own_chain(
    certified: Settings, catalogue: Catalogue, tmp_path: Path
) -> None:
    [(first, _)] = encoder(certified, c2pa="on").encode(job(catalogue), {})
    _, second = drawn_from(first, "png", certified, catalogue, tmp_path)
    _, third = drawn_from(second, "png", certified, catalogue, tmp_path)
    assert [each["relationship"] for each in chain(third)] == ["inputTo", "parentOf"] * 2


def test_an_unsigned_file_begins_the_chain_and_is_stored_without_a_manifest(
    certified: Settings, catalogue: Catalogue, tmp_path: Path
) -> None:
    stored, png = drawn_from(file_of("png"), "png", certified, catalogue, tmp_path)
    assert not is_signed(stored)
    assert len(chain(png)) == 1


def test_a_changed_file_is_in_the_chain_as_one_that_does_not_fit_its_signature(
    camera: PictureSigner, certified: Settings, catalogue: Catalogue, tmp_path: Path
) -> None:
    sent = photo(camera, "png")
    end = len(sent) - len(IEND)
    changed = sent[:end] + chunk(b"tEXt", b"x\x00y") + sent[end:]
    _, png = drawn_from(changed, "png", certified, catalogue, tmp_path)
    failures = chain(png)[-1]["validation_results"]["activeManifest"]["failure"]
    assert "assertion.dataHash.mismatch" in {each["code"] for each in failures}


def test_a_manifest_that_is_too_long_or_cannot_be_read_is_not_kept(
    camera: PictureSigner, certified: Settings, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = photo(camera, "png")
    found = manifest_in(sent)
    assert found is not None
    start = sent.index(b"caBX") - 4
    damaged = sent[:start] + chunk(b"caBX", b"\xff" * found.size) + sent[start + found.size + 12 :]
    for data, most in ((damaged, found.size), (sent, found.size - 1)):
        monkeypatch.setattr(input_images, "MAX_MANIFEST_BYTES", most)
        stored, png = drawn_from(data, "png", certified, catalogue, tmp_path)
        assert not is_signed(stored)
        assert len(chain(png)) == 1


def test_a_manifest_is_found_in_files_of_each_format_and_hostile_ones_are_not_read_to_their_end(
    camera: PictureSigner,
) -> None:
    for kind in ("png", "jpeg", "webp"):
        sent = photo(camera, kind)
        found = manifest_in(sent)
        assert found is not None
        assert found.media_type == f"image/{kind}"
        assert 500 < found.size < len(sent)
        assert manifest_in(file_of(kind)) is None
        for length in range(0, len(sent) - found.size, 50):
            manifest_in(sent[:length])
    chunk = b"\x00\x00\x00\x00teSt\x00\x00\x00\x00"
    assert manifest_in(PNG + chunk * MAX_PARTS + b"\x00\x00\x00\x09caBX" + b"x" * 13) is None
    assert manifest_in(b"") is None
