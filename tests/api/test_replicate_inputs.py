"""Inputs as Replicate's popular models name them: each is honoured, asks for nothing, or is refused by its name."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Collection
from itertools import combinations
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select

from limner_shared.db.tables import Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.predictions import MARK, OutputForm
from limner_web.replicate import inputs, sizes
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import rows
from tests.models import CANVAS

PREDICTIONS = "/replicate/v1/predictions"
NAMED = "/replicate/v1/models/limner/canvas/predictions"
HONOURED: dict[str, tuple[Any, str, Any]] = {
    "guidance": (4.0, "guidance", 4.0),
    "cfg": (5.0, "guidance", 5.0),
    "steps": (7, "steps", 7),
    "aspect_ratio": ("1:2", "height", 64),
    "size": ("64x64", "height", 64),
    "lora_weights": ("ink", "adapters", [{"name": "ink", "weight": 1.0}]),
    "extra_lora": ("wash", "adapters", [{"name": "wash", "weight": 1.0}]),
    "scheduler": ("ddim", "scheduler", "ddim"),
    "output_format": ("webp", "metadata", {MARK: {"output_format": "webp"}}),
    "output_quality": (80, "metadata", {MARK: {"output_quality": 80}}),
}
ASK_FOR_NOTHING = {"go_fast": True, "disable_safety_checker": False, "prompt_upsampling": False, "raw": None} | {
    "refine": "no_refiner",
    "high_noise_frac": 0.8,
    "apply_watermark": False,
}
FLUX = {"go_fast": True, "num_outputs": 2, "aspect_ratio": "1:1", "output_format": "webp", "output_quality": 80}


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    return make_app(models=(CANVAS,), default_model="canvas")


def create(client: ApiClient, **given: Any) -> Any:
    return client.post(NAMED, json={"input": {"prompt": "a cat"} | given})


def spec(app: App, prediction: dict[str, Any]) -> dict[str, Any]:
    with app.extensions["limner"].database.read() as session:
        job = session.scalars(select(Job).where(Job.id == prediction["id"])).one()
        read = JobSpec.read(job.spec)
        assert read is not None
        return read.model_dump(mode="json") | {"metadata": job.extra}


def assert_honoured(app: App, names: Collection[str], answer: Any) -> None:
    assert answer.status_code == 201, (names, answer.text)
    got = spec(app, answer.json)
    for name in HONOURED.keys() & set(names):
        _, field, expected = HONOURED[name]
        if field == "metadata":
            assert got["metadata"][MARK].items() >= expected[MARK].items(), names
        elif field == "adapters":
            assert expected[0] in got["adapters"], names
        else:
            assert got[field] == expected, names


def test_inputs_are_honoured_alone_and_in_pairs_under_the_names_that_popular_models_have_for_them(
    client: ApiClient, app: App
):
    values = {name: value for name, (value, _, _) in HONOURED.items()} | ASK_FOR_NOTHING
    for names in [*((name,) for name in values), *combinations(values, 2)]:
        answer = create(client, **{name: values[name] for name in names})
        if set(names) == {"guidance", "cfg"}:
            assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "input.cfg")
        elif set(names) == {"aspect_ratio", "size"}:
            assert (answer.status_code, answer.json["field"]) == (422, "size")
        else:
            assert_honoured(app, names, answer)


def test_the_schema_of_a_model_has_every_input_that_it_takes_with_its_adapters(client: ApiClient):
    version = client.get("/replicate/v1/models/limner/canvas").json["latest_version"]
    schema = version["openapi_schema"]["components"]["schemas"]["Input"]["properties"]
    lacking = {"control_image", "controlnet_conditioning_scale", "control_guidance_start", "control_guidance_end"}
    lacking |= {"reference_images", "reference_scale", "padding_mask_crop"}
    assert inputs.Inputs.model_fields.keys() - schema.keys() == lacking, "what canvas cannot do"
    assert (schema["lora_weights"]["enum"], schema["extra_lora"]["enum"]) == (["ink", "wash"], ["ink", "wash"])
    assert schema["size"]["enum"] == ["64x32", "32x64", "64x64"]
    plain = client.get("/replicate/v1/models/limner/limner-gan").json["latest_version"]["openapi_schema"]
    assert "lora_weights" not in plain["components"]["schemas"]["Input"]["properties"]


REFUSED: list[tuple[str, Any]] = [
    ("size", "1024x1024"),
    ("aspect_ratio", "16:9"),
    ("aspect_ratio", "wide"),
    ("aspect_ratio", "match_input_image"),
    ("megapixels", "1"),
    ("megapixels", "0"),
    ("megapixels", "many"),
    ("output_format", "gif"),
    ("output_quality", 101),
    ("guidance", 99.0),
    ("cfg", 99.0),
    ("cfg", "x"),
    ("steps", 5000),
    ("lora_weights", "someone/else"),
    ("disable_safety_checker", True),
    ("prompt_upsampling", True),
    ("refine", "expert_ensemble_refiner"),
    ("apply_watermark", True),
    ("safety_tolerance", 2),
    ("image_prompt", "https://example.com/a.png"),
]


def test_an_input_that_cannot_be_honoured_is_refused_by_the_name_that_was_sent(client: ApiClient, app: App):
    for name, value in REFUSED:
        answer = create(client, **{name: value})
        assert answer.status_code == 422, (name, answer.text)
        assert answer.json["detail"].removeprefix("input.").startswith(f"{name}:"), answer.json["detail"]
    assert rows(app, Job) == 0


def test_an_aspect_ratio_beside_a_width_is_refused_and_custom_leaves_the_size_to_it(client: ApiClient, app: App):
    both = create(client, aspect_ratio="1:1", width=64)
    assert (both.status_code, both.json["field"]) == (422, "aspect_ratio")
    custom = create(client, aspect_ratio="custom", width=32, height=64)
    assert (spec(app, custom.json)["width"], spec(app, custom.json)["height"]) == (32, 64)


def test_the_size_has_the_ratio_and_is_nearest_in_megapixels(catalogue: Catalogue):
    listed = ((1024, 1024), (1344, 768), (768, 1344), (512, 512), (1216, 832), (1536, 640))
    card = catalogue.get(None).model_copy(update={"sizes": listed})
    expected = {
        ("16:9", None): (1344, 768),
        ("9:16", "1"): (768, 1344),
        ("1:1", None): (1024, 1024),
        ("1:1", "0.25"): (512, 512),
        (None, "0.25 MP"): (512, 512),
        ("3:2", "1 MP"): (1216, 832),
        ("21:9", None): (1536, 640),
    }
    assert {asked: sizes.find(card, *asked)[0] for asked in expected} == expected


def test_a_scheduler_has_the_name_of_replicates_models_too(catalogue: Catalogue):
    card = catalogue.get(None).model_copy(update={"schedulers": ("EulerDiscreteScheduler",)})
    for sent, ours in (("K_EULER", "EulerDiscreteScheduler"), ("PNDM", "PNDM")):
        asked = inputs.read({"input": {"prompt": "x", "scheduler": sent}})
        assert inputs.job_fields(asked, card)[0]["scheduler"] == ours


@pytest.mark.parametrize("kind", ["webp", "jpg", "png"])
def test_pictures_come_in_the_asked_format_as_data_and_by_link(make_app: Callable[..., App], kind: str):
    app = make_app(models=(CANVAS,), default_model="canvas", public_url="https://pictures.example")
    client = app.test_client()
    made = create(client, output_format=kind, output_quality=30).json
    finish(app, start(app, made["id"]), png("red"))
    url = f"{PREDICTIONS}/{made['id']}"
    [data] = client.get(url, headers={"X-Output-Files": "data"}).json["output"]
    linked = client.get(url).json
    assert linked["input"]["output_format"] == kind
    by_link = client.get(linked["output"][0].removeprefix("https://pictures.example"))
    name = {"jpg": "jpeg"}.get(kind, kind)
    for media_type, file in (
        (data.partition(";")[0].removeprefix("data:"), base64.b64decode(data.partition(",")[2])),
        (by_link.mimetype, by_link.data),
    ):
        assert media_type == f"image/{name}"
        assert Image.open(io.BytesIO(file)).format == name.upper()
    again = create(client, image=linked["output"][0])
    assert again.status_code == 201, again.text


def test_the_example_of_flux_schnell_draws_with_a_model_that_has_its_ratio(client: ApiClient, app: App):
    answer = create(client, **FLUX, num_inference_steps=4)
    assert answer.status_code == 201, answer.text
    assert spec(app, answer.json)["n"] == 2


@pytest.mark.parametrize("damaged", [None, 1, "x", {"output_format": "exe"}, {"output_quality": "?"}])
def test_metadata_of_another_program_under_the_same_name_are_no_form(damaged: Any):
    assert OutputForm.read({MARK: damaged}).query == ""
