"""A1111's API: what it honors, what it refuses by name, and whose jobs it shows. Drawing has end-to-end tests."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select

from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from limner_shared.domain.catalogue import Catalogue
from limner_web.a1111 import infotext
from limner_web.a1111.options import Options
from limner_web.a1111.parameters import TextToImage, read
from limner_web.pictures.renditions import Renditions
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import rows
from tests.api.test_keys import make_key
from tests.processes import eventually

ROUTES = (
    "options sd-models samplers schedulers upscalers latent-upscale-modes sd-vae loras prompt-styles scripts progress"
)
SIZE = {"width": 256, "height": 256}


def basic(headers: dict[str, str]) -> dict[str, str]:
    """The key of these headers as a Basic password."""
    key = headers["Authorization"].removeprefix("Bearer ")
    return {"Authorization": f"Basic {base64.b64encode(f'anyone:{key}'.encode()).decode()}"}


def draw(
    app: App,
    body: dict[str, Any],
    colours: tuple[str, ...] = ("red",),
    headers: dict[str, str] | None = None,
    path: str = "txt2img",
):
    """Send a call and act as the worker."""
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(app.test_client().post, f"/sdapi/v1/{path}", json=body, headers=headers)
        finish(app, start(app, waiting_job(app, answer)), *[png(colour) for colour in colours])
        return answer.result()


def waiting_job(app: App, answer: Future[Any]) -> str:
    """The id of the newest queued job, once there is one."""

    def newest() -> str | None:
        assert not answer.done(), answer.result().text
        with app.extensions["limner"].database.read() as session:
            return session.scalar(select(Job.id).where(Job.state == "queued").order_by(Job.id.desc()))

    return eventually(newest)


def test_a_call_answers_with_the_pictures_and_how_they_were_made(app: App):
    answer = draw(app, {"prompt": "a cat", "seed": 7, "batch_size": 2, "steps": 4} | SIZE, ("red", "blue"))
    assert answer.status_code == 200, answer.text
    pictures = [base64.b64decode(image) for image in answer.json["images"]]
    assert pictures == [png("red"), png("blue")]
    info = json.loads(answer.json["info"])
    assert (info["all_seeds"], info["steps"], info["sd_model_name"]) == ([7, 8], 4, "limner-flow")
    assert info["infotexts"][1].startswith("a cat\nSteps: 4, Sampler: Automatic, CFG scale: 3, Seed: 8, Size: 256x256")
    assert answer.json["parameters"]["prompt"] == "a cat"


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_files_in_each_format_are_written_where_signed_pictures_are_signed_again(
    app: App, client: ApiClient, kind: str, monkeypatch: pytest.MonkeyPatch
):
    kinds: list[str] = []
    write = Renditions.write

    def noted(self: Renditions, tenant_id: str, stored: bytes, kind: str, writer: Callable[[bytes], bytes]) -> bytes:
        kinds.append(kind)
        return write(self, tenant_id, stored, kind, writer)

    monkeypatch.setattr(Renditions, "write", noted)
    client.post("/sdapi/v1/options", json={"samples_format": kind, "enable_pnginfo": True})
    assert draw(app, {"prompt": "a cat"} | SIZE).status_code == 200
    assert kinds == [kind.replace("jpg", "jpeg")]


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_files_contain_the_parameters_only_if_the_tenant_wants_that(app: App, client: ApiClient, kind: str):
    client.post("/sdapi/v1/options", json={"samples_format": kind})
    body = {"prompt": "ein Bär, 熊"} | SIZE
    without = draw(app, body).json["images"][0]
    assert client.post("/sdapi/v1/png-info", json={"image": without}).json["info"] == ""
    client.post("/sdapi/v1/options", json={"enable_pnginfo": True})
    drawn = draw(app, body).json
    read_back = client.post("/sdapi/v1/png-info", json={"image": drawn["images"][0]}).json
    assert read_back["info"] == json.loads(drawn["info"])["infotexts"][0]
    assert read_back["parameters"]["Prompt"] == "ein Bär, 熊"
    with Image.open(io.BytesIO(base64.b64decode(drawn["images"][0]))) as picture:
        assert picture.format == kind.upper().replace("JPG", "JPEG")


def test_one_call_can_choose_what_the_options_choose_otherwise(app: App, client: ApiClient):
    override = {"enable_pnginfo": True, "sd_model_checkpoint": "limner-gan", "CLIP_stop_at_last_layers": 1}
    drawn = draw(app, {"prompt": "a cat", "override_settings": override} | SIZE).json
    assert "Model: limner-gan" in client.post("/sdapi/v1/png-info", json={"image": drawn["images"][0]}).json["info"]
    assert client.get("/sdapi/v1/options").json["sd_model_checkpoint"] == "limner-flow"


UNHONOURED: list[tuple[str, Any]] = [
    ("width", 5000),
    ("steps", 500),
    ("cfg_scale", 99),
    ("batch_size", 99),
    ("enable_hr", True),
    ("restore_faces", True),
    ("tiling", True),
    ("subseed_strength", 0.5),
    ("eta", 0.5),
    ("script_name", "x/y plot"),
    ("alwayson_scripts", {"ControlNet": {"args": [{}]}}),
    ("alwayson_scripts", {"ControlNet": {"args": [{"image": "x", "module": "canny"}]}}),
    ("alwayson_scripts", {"ControlNet": {"args": [{"image": "x"}, {"image": "x"}]}}),
    ("alwayson_scripts", {"controlnet": {"args": [{"image": "x", "control_mode": 2}]}}),
    ("alwayson_scripts", {"controlnet": {"args": [{"image": "x", "weight": 1}]}}),
    ("alwayson_scripts", {"ADetailer": {"args": []}}),
    ("alwayson_scripts", {"ADetailer": {"args": [True, {}]}}),
    ("alwayson_scripts", {"ADetailer": True}),
    ("alwayson_scripts", {"Sampler": {"args": [0, "Euler"]}}),
    ("alwayson_scripts", [False]),
    ("controlnet_units", [{"enabled": True, "image": "x"}]),
    ("controlnet_units", "x"),
    ("alwayson_scripts", {"controlnet": {"args": [{"enabled": False}, {"image": "x", "lowvram": True, "mask": "y"}]}}),
    ("styles", ["3d", "flat"]),
    ("styles", ["oil"]),
    ("init_images", ["x"]),
    ("made_up", 1),
    ("prompt", "a cat <lora:none:1>"),
    ("prompt", "a cat <lora:none:x>"),
    ("prompt", ""),
    ("seed", 2**40),
]


@pytest.mark.parametrize(("parameter", "value"), UNHONOURED)
def test_a_parameter_that_cannot_be_honoured_is_refused_by_name(
    client: ApiClient, app: App, parameter: str, value: Any
):
    answer = client.post("/sdapi/v1/txt2img", json={"prompt": "a cat"} | {parameter: value})
    assert (answer.status_code, answer.content_type) == (422, "application/json"), answer.text
    assert answer.json["detail"].startswith((f"{parameter}:", f"{parameter}.", "Describe")), answer.json
    assert answer.json["code"] == "invalid_request"
    assert rows(app, Job) == 0


def test_the_null_of_every_parameter_means_that_it_is_not_given(catalogue: Catalogue):
    names = ["eta", "styles", "width", "sampler_name", "alwayson_scripts", "override_settings", "script_name"]
    asked = read({"prompt": "a cat"} | dict.fromkeys(names), TextToImage, Options(), catalogue)
    assert asked.warnings == ()
    assert asked.job.model_dump(exclude_unset=True, exclude_none=True)["prompt"] == "a cat"


def test_the_sampler_of_a_model_without_a_choice_is_its_own_and_the_answer_says_so(app: App):
    answer = draw(app, {"prompt": "a cat", "sampler_name": "Euler a", "scheduler": "karras"})
    info = json.loads(answer.json["info"])
    assert info["sampler_name"] == "Automatic"
    assert [warning.partition(":")[0] for warning in info["warnings"]] == ["scheduler", "sampler_name"]
    assert len(answer.headers.getlist("Warning")) == 2


def test_the_answer_says_that_a_model_draws_weighted_words_without_their_weights(app: App):
    answer = draw(app, {"prompt": "a (red:1.3) apple"} | SIZE)
    info = json.loads(answer.json["info"])
    assert info["infotexts"][0].startswith("a (red:1.3) apple\n"), "the prompt itself is kept"
    assert info["warnings"] == ["prompt: limner-flow cannot weigh words; it draws them without their weights."]


def test_a_model_with_schedulers_takes_them_by_either_name_and_refuses_others(catalogue: Catalogue):
    names = ("EulerAncestralDiscreteScheduler", "DDIMScheduler")
    card = catalogue.cards["limner-flow"].model_copy(update={"schedulers": names, "adapters": {"ink": None}})
    some = Catalogue([card], card.name)
    chosen = [
        read({"prompt": "x", "sampler_name": name}, TextToImage, Options(), some).job.scheduler
        for name in ("Euler a", "DDIM", names[1], "Automatic")
    ]
    assert chosen == [*names, names[1], None]
    with pytest.raises(Exception, match="sampler_name: 'Heun' is not allowed"):
        read({"prompt": "x", "sampler_name": "Heun"}, TextToImage, Options(), some)
    [adapter] = read({"prompt": "a <lora:ink:0.5>cat"}, TextToImage, Options(), some).job.adapters
    assert (adapter.name, adapter.weight) == ("ink", 0.5)


def test_options_can_be_sent_back_and_are_the_tenants_own(make_app: Callable[..., App], database: Database):
    client = make_app(require_keys=True).test_client()
    ours, theirs = (basic(make_key(database, tenant)) for tenant in ("ours", "theirs"))
    shown = client.get("/sdapi/v1/options", headers=ours).json
    assert (
        client.post("/sdapi/v1/options", json=shown | {"sd_model_checkpoint": "limner-gan"}, headers=ours).json is None
    )
    assert client.get("/sdapi/v1/options", headers=ours).json["sd_model_checkpoint"] == "limner-gan"
    assert client.get("/sdapi/v1/options", headers=theirs).json == shown


@pytest.mark.parametrize(
    "change", [{"sd_model_checkpoint": "none"}, {"sd_vae": "x"}, {"made_up": 1}, {"samples_format": "gif"}]
)
def test_an_option_that_cannot_be_honoured_is_refused_by_name(client: ApiClient, change: dict[str, Any]):
    answer = client.post("/sdapi/v1/options", json=change)
    [name] = change
    assert answer.status_code == 422
    assert name in answer.json["detail"] or answer.json["detail"].startswith("model:")


@pytest.mark.parametrize("stored", ["nonsense", '{"samples_format": "gif"}', '{"sd_model_checkpoint": "gone"}'])
def test_options_that_are_damaged_or_name_a_lost_model_are_the_defaults(client: ApiClient, app: App, stored: str):
    shown = client.get("/sdapi/v1/options").json
    app.extensions["limner"].hints.redis.set("limner:a1111:options:tenant_local", stored)
    assert client.get("/sdapi/v1/options").json == shown


def test_every_list_answers_and_needs_a_key_where_keys_are_required(
    client: ApiClient, make_app: Callable[..., App], database: Database
):
    protected = make_app(require_keys=True).test_client()
    headers = basic(make_key(database, "ours"))
    extension = ("version", "settings", "model_list", "module_list")
    for path in [f"/sdapi/v1/{name}" for name in ROUTES.split()] + [f"/controlnet/{name}" for name in extension]:
        assert client.get(path).status_code == 200
        for useless in ("Basic", "Basic Og=="):
            assert client.get(path, headers={"Authorization": useless}).status_code == 200
        refused = protected.get(path)
        assert (refused.status_code, refused.json["code"]) == (401, "unauthorized")
        assert protected.get(path, headers=headers).status_code == 200


@pytest.mark.parametrize("call", ["refresh-checkpoints", "refresh-loras", "refresh-vae"])
def test_lists_are_always_current_so_that_refreshing_them_succeeds(client: ApiClient, call: str):
    answer = client.post(f"/sdapi/v1/{call}")
    assert (answer.status_code, answer.json) == (200, None)


@pytest.mark.parametrize("call", ["unload-checkpoint", "reload-checkpoint"])
def test_a_program_that_makes_room_on_a_shared_gpu_is_not_stopped(client: ApiClient, call: str):
    answer = client.post(f"/sdapi/v1/{call}", json="")  # as text-generation-webui's extension does
    assert (answer.status_code, answer.json) == (200, None)


def test_overrides_that_should_stay_are_refused(client: ApiClient):
    body = {"prompt": "a cat", "override_settings": {"enable_pnginfo": True}}
    answer = client.post("/sdapi/v1/txt2img", json=body | {"override_settings_restore_afterwards": False})
    assert (answer.status_code, answer.json["field"]) == (422, "override_settings_restore_afterwards")


@pytest.mark.parametrize("header", ["Basic", "Basic x", "Basic Og==", "Basic YTpi", "Digest x"])
def test_a_basic_credential_without_a_key_is_refused(make_app: Callable[..., App], header: str):
    client = make_app(require_keys=True).test_client()
    answer = client.get("/sdapi/v1/options", headers={"Authorization": header})
    assert (answer.status_code, answer.json["code"]) == (401, "unauthorized")


def test_a_browsers_stored_password_serves_no_page_of_another_site(make_app: Callable[..., App], database: Database):
    app = make_app(require_keys=True)
    foreign = basic(make_key(database, "ours")) | {"Origin": "https://evil.example"}
    answer = app.test_client().post("/sdapi/v1/txt2img", json={"prompt": "a cat"}, headers=foreign)
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
    assert rows(app, Job) == 0


def test_a_basic_credential_opens_only_this_api(make_app: Callable[..., App], database: Database):
    client = make_app(require_keys=True).test_client()
    assert client.get("/api/v1/jobs", headers=basic(make_key(database, "ours"))).status_code == 401


def progress(client: ApiClient, headers: dict[str, str] | None = None) -> tuple[float, int]:
    answer = client.get("/sdapi/v1/progress", headers=headers).json
    return answer["progress"], answer["state"]["job_count"]


def test_progress_and_interrupt_concern_the_callers_own_jobs(make_app: Callable[..., App], database: Database):
    app = make_app(require_keys=True)
    client = app.test_client()
    ours, other_key, theirs = (basic(make_key(database, tenant)) for tenant in ("ours", "ours", "theirs"))
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(app.test_client().post, "/sdapi/v1/txt2img", json={"prompt": "a cat"}, headers=ours)
        waiting_job(app, answer)
        eventually(lambda: progress(client, ours) == (0.01, 1))
        for others in (other_key, theirs):
            assert progress(client, others) == (0.0, 0)
            assert client.post("/sdapi/v1/interrupt", headers=others).json == {}
        assert progress(client, ours) == (0.01, 1)
        assert client.post("/sdapi/v1/interrupt", headers=ours).json == {}
        refused = answer.result()
    assert (refused.status_code, refused.json["detail"]) == (409, "The job was canceled.")
    assert progress(client, ours) == (0.0, 0)


def test_a_retried_call_makes_one_job(app: App):
    headers = {"Idempotency-Key": "once"}
    body = {"prompt": "a cat", "seed": 1}
    first = draw(app, body, headers=headers)
    second = app.test_client().post("/sdapi/v1/txt2img", json=body, headers=headers)
    assert first.json["images"] == second.json["images"]
    assert rows(app, Job) == 1


@pytest.mark.parametrize("image", ["", "no base64", "é", base64.b64encode(b"no picture").decode()])
def test_what_is_no_picture_has_no_parameters(client: ApiClient, image: str):
    answer = client.post("/sdapi/v1/png-info", json={"image": image})
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_request")


def test_the_parameters_of_a_picture_with_too_many_pixels_are_not_read(client: ApiClient):
    buffer = io.BytesIO()
    Image.new("1", (9_000, 9_000)).save(buffer, "PNG")  # 12 kB, which reading its parameters would decode
    answer = client.post("/sdapi/v1/png-info", json={"image": base64.b64encode(buffer.getvalue()).decode()})
    assert (answer.status_code, "megapixels" in answer.json["detail"]) == (422, True)


@pytest.mark.parametrize(
    "text", ["", "a cat", "a cat\nSteps: x", 'a\nNegative prompt: b\nSteps: 4, Model: "x, y", Size: 8x8']
)
def test_a_parameters_text_is_parsed_as_far_as_it_has_the_form(text: str):
    found = infotext.parse(text)
    assert found["Prompt"] in ("", "a cat", "a")
    if "Model" in found:
        assert (found["Model"], found["Negative prompt"]) == ("x, y", "b")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", [" ", "a ", ':"\\",', 'a: "x, ', "a:", "Steps: 4, "])
def test_a_long_text_is_parsed_in_little_time(part: str):
    assert infotext.parse(f"a{part * 6_000}b")["Prompt"] is not None
