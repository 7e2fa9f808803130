"""Provenance: a picture's file says which model made it and how, and never contains the prompt."""

from __future__ import annotations

import io
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_shared.domain.safety import SOURCE_TYPE
from limner_web.pictures.picture_formats import convert
from limner_worker.stages.picture_files import encode_png
from limner_worker.stages.provenance import PNG_KEY, xmp

PICTURE = np.zeros((8, 8, 3), np.uint8)


@pytest.fixture
def spec(catalogue: Catalogue) -> JobSpec:
    return catalogue.resolve(JobRequest(prompt='a "secret" <cat>', seed=7, style="flat"))[1]


def attributes(packet: str) -> dict[str, str]:
    """The attributes of the packet's only description, without namespaces."""
    [description] = ET.fromstring(packet.split("?>", 1)[1].rpartition("<?")[0])[0]  # noqa: S314 - our own
    return {name.rpartition("}")[2]: value for name, value in description.attrib.items()}


def test_a_packet_contains_the_tool_the_source_type_and_the_parameters(spec: JobSpec):
    attributes_found = attributes(xmp(spec, 9))
    assert (attributes_found["CreatorTool"], attributes_found["DigitalSourceType"]) == ("Limner", SOURCE_TYPE)
    assert (
        attributes_found["model"],
        attributes_found["seed"],
        attributes_found["steps"],
        attributes_found["style"],
    ) == ("limner-flow", "9", "8", "flat")


def test_a_packet_names_the_style_that_the_seed_chose(catalogue: Catalogue):
    spec = catalogue.resolve(JobRequest(prompt="a cat", seed=2, n=2))[1]
    assert [attributes(xmp(spec, seed))["style"] for seed in (2, 3)] == ["flat", "3d"]


def test_a_packet_does_not_contain_the_prompt(spec: JobSpec):
    assert "secret" not in xmp(spec, 9)


@pytest.mark.parametrize("kind", ["webp", "jpeg"])
def test_other_formats_keep_the_packet(spec: JobSpec, kind: str):
    png = encode_png(PICTURE, xmp(spec, 9))
    with Image.open(io.BytesIO(png)) as stored, Image.open(io.BytesIO(convert(png, kind))) as converted:
        assert stored.info[PNG_KEY] == xmp(spec, 9)
        assert converted.info["xmp"].decode() == xmp(spec, 9)


def test_equal_requests_have_equal_bytes_and_provenance_can_be_disabled(spec: JobSpec, catalogue: Catalogue):
    assert encode_png(PICTURE, xmp(spec, 9)) == encode_png(PICTURE, xmp(spec.model_copy(), 9))
    with Image.open(io.BytesIO(encode_png(PICTURE))) as plain:
        assert plain.info == {}
    assert spec.provenance
    assert not catalogue.resolve(JobRequest(prompt="x", provenance=False))[1].provenance
    assert not JobSpec.model_validate(
        spec.model_dump(exclude={"provenance"})
    ).provenance  # a spec of an earlier version
