"""A client of A1111's web UI, unmodified, against a real service, and the requests of Open WebUI and SillyTavern."""

from __future__ import annotations

import base64
import io
import json
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import webuiapi
from PIL import Image

from limner_client import Client
from tests.e2e.guides import run_examples
from tests.processes import eventually

SMALL: dict[str, Any] = {"steps": 1, "cfg_scale": 1.0, "width": 64, "height": 64}


@pytest.fixture(autouse=True)
def api(door: str) -> webuiapi.WebUIApi:
    """The client, with the defaults of its own constructor: `Euler a` and `automatic`. Every test begins with these
    options.
    """
    built = webuiapi.WebUIApi(baseurl=f"{door}/sdapi/v1")
    cast("Any", built).set_options(
        {"sd_model_checkpoint": "limner-gan", "enable_pnginfo": False, "samples_format": "png"}
    )
    return built


def test_pictures_are_drawn_with_their_seeds_and_settings(api: Any):
    drawn = api.txt2img(prompt="a red apple", seed=7, batch_size=2, **SMALL)
    assert [picture.size for picture in drawn.images] == [(64, 64), (64, 64)]
    assert drawn.info["all_seeds"] == [7, 8]
    assert drawn.parameters["prompt"] == "a red apple"
    again = api.txt2img(prompt="a red apple", seed=8, **SMALL)
    assert again.image.tobytes() == drawn.images[1].tobytes()


def test_a_picture_is_drawn_from_a_picture_and_a_mask_is_refused_where_the_model_has_none(api: Any):
    start = Image.new("RGB", (8, 8), "red")
    settings: dict[str, Any] = {"images": [start], "prompt": "x", "steps": 4, "cfg_scale": 3, "width": 8, "height": 8}
    drawn = api.img2img(override_settings={"sd_model_checkpoint": "null"}, denoising_strength=0.5, **settings)
    assert drawn.image.size == (8, 8)
    assert drawn.info["denoising_strength"] == 0.5
    with pytest.raises(RuntimeError, match=r"mask: inpainting with .* is not allowed here"):
        api.img2img(override_settings={"sd_model_checkpoint": "null"}, mask_image=start, **settings)
    with pytest.raises(RuntimeError, match=r"init_images: image-to-image with .* is not allowed here"):
        api.img2img(**settings | {"width": 64, "height": 64, "steps": 1, "cfg_scale": 1})


def test_models_options_and_lists_are_readable(api: Any):
    assert {"limner-flow", "limner-gan", "null", "canvas"} <= set(api.util_get_model_names())
    api.util_set_model("limner-flow")
    assert api.util_get_current_model() == "limner-flow"
    assert (api.util_get_sampler_names(), api.util_get_scheduler_names()) == (["Automatic"], ["automatic"])
    assert [upscaler["name"] for upscaler in api.get_upscalers()] == ["None"]
    assert api.get_latent_upscale_modes() == api.get_sd_vae() == api.get_loras() == []
    assert api.get_face_restorers() == api.get_realesrgan_models() == api.get_hypernetworks() == []
    assert api.get_embeddings() == {"loaded": {}, "skipped": {}}
    assert "noto" in [style["name"] for style in api.get_prompt_styles()]
    api.util_wait_for_ready(check_interval=0.1)
    assert api.interrupt() == {}


def test_errors_say_what_to_change(api: Any):
    with pytest.raises(RuntimeError) as refused:
        api.txt2img(prompt="a cat", width=4096, height=4096)
    status, text = refused.value.args
    assert (status, json.loads(text)["code"]) == (422, "invalid_request")
    assert "256x256, 64x64" in json.loads(text)["detail"]


def test_the_clients_own_defaults_draw_a_picture(api: Any):
    drawn = api.txt2img(prompt="a cat")  # 512x512, 20 steps and a guidance scale of 7, of which the model has none
    assert drawn.image.size == (512, 512)
    assert [each.partition(":")[0] for each in drawn.info["warnings"]] == [
        *("steps", "cfg_scale", "sampler_name", "width, height")
    ]


def test_a_unit_of_an_ip_adapter_gives_a_reference_picture(api: Any):
    unit = cast("Any", webuiapi).ControlNetUnit
    small: dict[str, Any] = {"width": 64, "height": 64, "steps": 2, "cfg_scale": 3.0, "sampler_name": "Automatic"}
    small["override_settings"] = {"sd_model_checkpoint": "collage"}
    small["alwayson_scripts"] = {}  # the client's default is one object, in which later calls would find these units
    picture = Image.new("RGB", (20, 10), "red")
    given = unit(image=picture, module="ip-adapter_clip_sdxl", model="ip-adapter_xl [4209e9f7]", weight=0.5)
    drawn = api.txt2img(prompt="a boat", controlnet_units=[given], **small)
    assert drawn.image.size == (64, 64)
    assert ["ip-adapter_xl" in told for told in drawn.info["warnings"]] == [True]
    with pytest.raises(RuntimeError, match=r"args\[0\].weight: 2 is not allowed"):
        api.txt2img(
            prompt="a boat", controlnet_units=[unit(image=picture, module="ip-adapter-auto", weight=2)], **small
        )


def test_the_lists_of_the_controlnet_extension_are_those_of_the_current_model(api: Any):
    assert (api.controlnet_version(), api.controlnet_model_list(), api.controlnet_module_list()) == (2, [], ["none"])
    api.set_options({"sd_model_checkpoint": "collage"})
    assert api.controlnet_model_list() == ["collage"]
    assert api.controlnet_module_list()[:2] == ["none", "ip-adapter-auto"]
    assert api.custom_get("controlnet/settings") == {"control_net_unit_count": 2}


def test_files_contain_the_parameters_once_the_tenant_wants_that(api: Any):
    assert api.png_info(api.txt2img(prompt="a fox", **SMALL).image).info == ""
    api.set_options({"enable_pnginfo": True})
    drawn = api.txt2img(prompt="a fox", seed=3, **SMALL)
    assert "Seed: 3" in drawn.image.info["parameters"]
    assert "trainedAlgorithmicMedia" in drawn.image.info["XML:com.adobe.xmp"]
    assert api.png_info(drawn.image).info == drawn.image.info["parameters"]
    api.set_options({"samples_format": "jpg"})
    [encoded] = api.txt2img(prompt="a fox", seed=3, **SMALL).json["images"]
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
        comment = picture.getexif().get_ifd(0x8769)[0x9286]
    assert comment.removeprefix(b"UNICODE\x00").decode("utf-16-be").startswith("a fox\nSteps: 1")


def test_open_webui_sets_the_model_and_draws(door: str):
    """As `routers/images.py` of Open WebUI does, with an empty user name and password."""
    headers = {"authorization": f"Basic {base64.b64encode(b':').decode()}"}
    with httpx.Client(base_url=f"{door}/sdapi/v1", headers=headers, timeout=60, trust_env=False) as client:
        options = client.get("/options").raise_for_status().json()
        options["sd_model_checkpoint"] = "limner-gan"
        client.post("/options", json=options).raise_for_status()
        titles = [{"id": model["title"], "name": model["model_name"]} for model in client.get("/sd-models").json()]
        assert {"id": "limner-gan", "name": "limner-gan"} in titles
        data = {"prompt": "a red apple", "batch_size": 1, "width": 512, "height": 512, "steps": 50}
        drawn = client.post("/txt2img", json=data).raise_for_status().json()
    assert json.loads(drawn["info"])["sd_model_name"] == "limner-gan"
    assert base64.b64decode(drawn["images"][0]).startswith(b"\x89PNG")


def test_sillytavern_connects_draws_and_interrupts(door: str):
    """As SillyTavern's server passes on what its page sends, credentials included."""
    payload: dict[str, Any] = {
        "url": door,
        "auth": "user:secret",
        "prompt": "a cat",
        "negative_prompt": "lowres, bad anatomy, bad hands, text, error, cropped, worst quality, blurry",
        "sampler_name": "DDIM",
        "scheduler": "normal",
        "steps": 20,
        "cfg_scale": 7,
        "width": 512,
        "height": 512,
        "restore_faces": False,
        "enable_hr": False,
        "hr_upscaler": "Latent",
        "hr_scale": 1,
        "hr_additional_modules": [],
        "denoising_strength": 0.7,
        "hr_second_pass_steps": 0,
        "override_settings": {"CLIP_stop_at_last_layers": 1},
        "override_settings_restore_afterwards": True,
        "clip_skip": 1,
        "save_images": True,
        "send_images": True,
        "do_not_save_grid": False,
        "do_not_save_samples": False,
    }
    headers = {"Authorization": f"Basic {base64.b64encode(b'user:secret').decode()}"}
    with httpx.Client(base_url=f"{door}/sdapi/v1", headers=headers, timeout=60, trust_env=False) as client:
        for name in ("options", "samplers", "schedulers", "upscalers", "latent-upscale-modes", "sd-vae", "sd-models"):
            assert client.get(f"/{name}").is_success
        client.post("/options", json={"sd_model_checkpoint": "limner-flow"}).raise_for_status()
        state = client.get("/progress").json()
        assert (state["progress"], state["state"]["job_count"]) == (0.0, 0)
        drawn = client.post("/txt2img", json=payload).raise_for_status()
        assert client.post("/interrupt").is_success
    assert len(drawn.json()["images"]) == 1
    assert "secret" not in drawn.text


def test_a_client_that_hangs_up_does_not_cancel_its_job(door: str):
    body = {"prompt": "a job without a client", "steps": 20, "override_settings": {"sd_model_checkpoint": "null"}}
    connection = HTTPConnection(door.removeprefix("http://"))
    connection.request("POST", "/sdapi/v1/txt2img", json.dumps(body), {"Content-Type": "application/json"})
    connection.close()
    with Client(door) as client:
        job = eventually(lambda: next((job for job in client.jobs().items if job.prompt == body["prompt"]), None))
        *_, ended = client.wait(job.id)
    assert ended.status == "succeeded"


def test_the_guides_examples_run(
    api: webuiapi.WebUIApi,
    door: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    cast("Any", api).set_options({"sd_model_checkpoint": "limner-flow"})
    run_examples("a1111.md", door)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["apple-0.png", "apple-1.png"]
    said = capsys.readouterr().out
    assert "Seed: 7, Size: 256x256, Model: limner-flow" in said
    assert "a sunflower\nSteps: 1" in said
