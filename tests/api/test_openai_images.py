"""The parameters of OpenAI's image calls: each is honoured or refused by name, alone and beside every other one."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from limner_shared.db import signed_links
from limner_shared.db.engine import Database
from limner_shared.domain.catalogue import Catalogue, load_card
from limner_shared.errors import InvalidRequest, LimnerError
from limner_shared.settings import Settings
from limner_web.model_names import ModelNames
from limner_web.openai.image_order import NATIVE, UNSUPPORTED, ImageOptions, ImageOrder, in_openai_terms, read_order
from tests.api.clients import App
from tests.api.fake_worker import finish, png, start
from tests.api.test_a1111 import waiting_job
from tests.api.test_keys import make_key

PICTURE = "data:image/png;base64,aGk="
CARD = """
name = "painter"
title = "Painter"
family = "diffusers"
source = { folder = "." }
sizes = [[64, 32], [32, 64], [64, 64]]
styles = ["ink", "oil"]
schedulers = ["euler"]
adapters = { lace = { folder = "." } }
tasks = ["text-to-image", "image-to-image", "inpainting"]
quality = { high = 30 }
steps = { min = 1, max = 50, default = 10 }
guidance = { min = 0.0, max = 20.0, default = 7.5 }
"""


@dataclass(frozen=True)
class Case:
    """A parameter with a value that is honoured: `check` looks at the order that it leads to."""

    name: str
    value: Any
    check: Callable[[ImageOrder], bool]


HONOURED = [
    Case("model", "painter", lambda order: order.request.model == "painter"),
    Case("model", "gpt-image-1", lambda order: order.request.model == "painter"),
    Case("n", 3, lambda order: order.request.n == 3),
    Case("size", "32x64", lambda order: (order.request.width, order.request.height) == (32, 64)),
    Case("size", "auto", lambda order: order.request.width is None),
    Case("quality", "low", lambda order: order.request.steps == 5),
    Case("quality", "high", lambda order: order.request.steps == 30),
    Case("quality", "hd", lambda order: order.request.steps == 30),
    Case("quality", "xhigh", lambda order: order.request.steps == 30 and "drawn as high" in str(order.output.warning)),
    Case("quality", "max", lambda order: order.request.steps == 30),
    Case("quality", "standard", lambda order: order.request.steps == 10),
    Case("background", "opaque", lambda _: True),  # every picture is opaque
    Case("output_format", "webp", lambda order: order.output.format == "webp"),
    Case("output_format", "jpeg", lambda order: order.output.format == "jpeg"),
    Case("output_compression", 40, lambda order: order.output.compression == 40),
    Case("response_format", "url", lambda order: order.output.as_url),
    Case("response_format", "b64_json", lambda order: not order.output.as_url),
    Case("moderation", "low", lambda _: True),  # the operator decides, not the call
    Case("user", "u-1", lambda order: order.request.metadata["user"] == "u-1"),
    Case("safety_identifier", "s-1", lambda order: order.output.identifier == "s-1"),
    Case("stream", True, lambda order: order.output.stream),
    Case("stream", False, lambda order: not order.output.stream),
    Case("partial_images", 2, lambda order: order.output.partial_images == (2 if order.output.stream else 0)),
    Case("fit", True, lambda order: order.output.letterbox is None),  # the sizes here need no fitting
    Case("interpret", True, lambda order: (order.request.prompt, order.request.description) == (None, "a boat")),
    Case("seed", 7, lambda order: order.request.seed == 7),
    Case("steps", 4, lambda order: order.request.steps == 4),
    Case("guidance", 2.5, lambda order: order.request.guidance == 2.5),
    Case("guidance_rescale", 0.5, lambda order: order.request.guidance_rescale == 0.5),
    Case("negative_prompt", "rain", lambda order: order.request.negative_prompt == "rain"),
    Case("style", "oil", lambda order: order.request.style == "oil"),
    Case("scheduler", "euler", lambda order: order.request.scheduler == "euler"),
    Case("adapters", [{"name": "lace", "weight": 0.5}], lambda order: order.request.adapters[0].weight == 0.5),
    Case("metadata", {"page": 3}, lambda order: order.request.metadata["page"] == 3),
    Case("priority", "high", lambda order: order.request.priority == "high"),
    Case("expires_in", 60, lambda order: order.request.expires_in == 60),
    Case("max_retries", 1, lambda order: order.request.max_retries == 1),
    Case("reproducible", True, lambda order: order.request.reproducible),
    Case("provenance", False, lambda order: not order.request.provenance),
]
REFUSED = [
    # This model follows no control pictures and takes no references: test_control_pictures and test_reference_pictures
    ("control_image", PICTURE),
    ("control_scale", 0.5),
    ("control_start", 0.1),
    ("control_end", 0.9),
    ("reference_images", [PICTURE]),
    ("reference_scale", 0.5),
    ("prompt", ""),
    ("prompt", "x" * 32_001),
    ("prompt", 5),
    ("model", "gpt-9"),
    ("model", 5),
    ("n", 0),
    ("n", 5),
    ("n", "two"),
    ("size", "1024x1024"),
    ("size", "64"),
    ("size", "64x-32"),
    ("size", [64, 32]),
    ("quality", "ultra"),
    ("quality", "best"),
    ("background", "transparent"),
    ("background", "red"),
    ("output_format", "gif"),
    ("output_compression", 99),  # of PNG
    ("output_compression", 101),
    ("response_format", "file"),
    ("moderation", "none"),
    ("user", 5),
    ("safety_identifier", "x" * 600),
    ("stream", "yes"),
    ("partial_images", 4),
    ("fit", True),  # without a size
    ("seed", -1),
    ("seed", 1.5),
    ("steps", 51),
    ("guidance", 21),
    ("guidance_rescale", 2),
    ("style", "vivid"),
    ("input_fidelity", "high"),  # of edits
    ("input_fidelity", "full"),
    ("scheduler", "ddim"),
    ("adapters", [{"name": "none"}]),
    ("adapters", "lace"),
    ("metadata", "page 3"),
    ("priority", "urgent"),
    ("expires_in", 0),
    ("max_retries", 21),
    ("interpret", 1),
    ("reproducible", "very"),
    ("provenance", "no, thanks"),
    ("image", "img_01j9z3w6q4x7img01j9z3w6q4x"),  # of edits
    ("strength", 0.5),
    ("width", 64),
    ("description", "a boat"),
    ("quantity", 2),
    *[(name, {"model": "x"} if name == "svg" else 2) for name in UNSUPPORTED],
]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> ModelNames:
    file: Path = tmp_path_factory.mktemp("cards") / "painter.toml"
    file.write_text(CARD)
    return ModelNames(Settings(default_model="painter"), Catalogue([load_card(file)], "painter"))


def read(names: ModelNames, **body: Any) -> ImageOrder:
    """Read a call as the handler does: the card checks the job request afterwards."""
    order = read_order({"prompt": "a boat"} | body, names)
    try:
        order.card.resolve(order.request)
    except InvalidRequest as error:
        raise in_openai_terms(error, names) from error
    return order


def outcome(names: ModelNames, body: dict[str, Any]) -> tuple[LimnerError, None] | tuple[None, ImageOrder]:
    """The error or the order that a call leads to."""
    try:
        return None, read(names, **body)
    except LimnerError as error:
        return error, None


def test_every_parameter_has_a_case():
    named = {case.name for case in HONOURED} | {name for name, _ in REFUSED}
    assert {*NATIVE, *UNSUPPORTED, *ImageOptions.model_fields} <= named


NEEDS = {"output_compression": {"output_format": "webp"}, "partial_images": {"stream": True}, "fit": {"size": "64x32"}}


@pytest.mark.parametrize("case", HONOURED, ids=lambda case: f"{case.name}={case.value}")
def test_each_parameter_is_honoured_alone(names: ModelNames, case: Any):
    assert case.check(read(names, **NEEDS.get(case.name, {}) | {case.name: case.value}))


@pytest.mark.parametrize("case", HONOURED, ids=lambda case: f"{case.name}={case.value}")
def test_a_parameter_that_is_null_counts_as_absent(names: ModelNames, case: Any):
    assert read(names, **{case.name: None}).request == read(names).request


def test_two_parameters_are_both_honoured_or_one_of_them_is_refused_by_name(names: ModelNames):
    honoured = 0
    for first, second in combinations(HONOURED, 2):
        if first.name == second.name:
            continue
        needs = NEEDS.get(first.name, {}) | NEEDS.get(second.name, {})
        body = needs | {first.name: first.value, second.name: second.value}
        refused, order = outcome(names, body)
        if order is None:
            assert refused.details["field"] in body, (body, refused.message)
            assert refused.details["field"] in refused.message
        else:
            assert first.check(order), (body, first.name)
            assert second.check(order), (body, second.name)
            honoured += 1
    assert honoured > 500


def test_a_value_that_cannot_be_honoured_is_refused_by_name(make_app: Callable[..., App], tmp_path: Path):
    file = tmp_path / "painter.toml"
    file.write_text(CARD)
    client = make_app(models=(file,), default_model="painter").test_client()
    for name, value in REFUSED:
        answer = client.post("/v1/images/generations", json={"prompt": "a boat"} | {name: value})
        error = answer.json["error"]
        assert answer.status_code == (404 if value == "gpt-9" else 422), error
        assert error["param"].partition(".")[0] == name, error
        assert name in error["message"] or name == "prompt"
        assert error["code"] in ("invalid_request", "model_not_found")
        assert error["type"] == "invalid_request_error"
    assert client.get("/api/v1/jobs").json["items"] == []


def test_the_default_compression_beside_png_asks_for_nothing(names: ModelNames):
    assert read(names, output_compression=100, output_format="png") == read(names)
    assert read(names, output_compression=100, response_format="url").output.query == ""
    assert read(names, output_compression=100, output_format="jpeg").output.compression == 100


def test_partial_images_have_no_effect_without_a_stream(names: ModelNames):
    told = read(names, partial_images=2).output
    assert (told.partial_images, told.warning) == (0, "partial_images has no effect without a stream")
    assert read(names, partial_images=0).output.warning is None
    assert read(names, partial_images=2, stream=True).output.warning is None


def test_an_unknown_size_is_refused_with_the_sizes_that_the_model_has(names: ModelNames):
    with pytest.raises(InvalidRequest, match="64x32, 32x64, 64x64"):
        read(names, size="1024x1024")


def test_fit_takes_the_nearest_shape_of_the_model_and_scales_to_the_requested_size(names: ModelNames):
    order = read(names, size="1792x1024", fit=True)
    assert (order.request.width, order.request.height, order.output.letterbox) == (64, 32, (1792, 1024))
    order = read(names, size="1024x1024", fit=True)
    assert (order.request.width, order.request.height) == (64, 64)
    with pytest.raises(InvalidRequest, match="2048 pixels"):
        read(names, size="8000x64", fit=True)
    by_url = read(names, size="1024x512", fit=True, response_format="url", output_format="jpeg", output_compression=9)
    assert by_url.output.query == "?format=jpeg&quality=9&fit=1024x512"


def test_models_called_dall_e_answer_with_urls_and_others_with_base64(names: ModelNames):
    assert read(names, model="dall-e-3").output.as_url
    assert not read(names, model="dall-e-3", response_format="b64_json").output.as_url
    assert not read(names, model="gpt-image-1").output.as_url
    assert not read(names).output.as_url


def test_the_url_of_a_picture_needs_no_key_for_an_hour(
    make_app: Callable[..., App], database: Database, monkeypatch: pytest.MonkeyPatch
):
    app = make_app(require_keys=True)
    body, key = {"prompt": "a cat", "response_format": "url", "output_format": "webp"}, make_key(database, "ours")
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(app.test_client().post, "/v1/images/generations", json=body, headers=key)
        finish(app, start(app, waiting_job(app, answer)), png("red"))
        path = answer.result().json["data"][0]["url"].removeprefix("http://localhost")
    browser = app.test_client()
    assert (browser.get(path).status_code, browser.get(path).mimetype) == (200, "image/webp")
    later = time.time() + 3600
    monkeypatch.setattr(signed_links.time, "time", lambda: later)
    assert (browser.get(path).status_code, browser.get(path).json["code"]) == (410, "link_expired")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
FIELDS = sorted({*NATIVE, *ImageOptions.model_fields, *UNSUPPORTED, "image", "mask", "strength", "other"})
GOOD = [(case.name, case.value) for case in HONOURED]


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4), st.lists(st.sampled_from(GOOD), max_size=6))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_body_leads_to_an_order_or_to_an_error_for_the_client(names: ModelNames, odd: Any, good: list[Any]):
    body = {"prompt": "a boat"} | dict(good) | odd
    with suppress(LimnerError, ValidationError):
        assert read_order(body, names, is_edit="image" in body).request.n >= 1
