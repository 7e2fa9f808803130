"""What popular programs send when their user has changed nothing: each request gets its picture from the default model
of a service with default settings.

The bodies are what each program builds from its own defaults, read in its source.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from PIL import Image

from tests.api.clients import ApiClient, App
from tests.api.test_a1111 import draw
from tests.api.test_built_in_habits import drawn

IMAGES: Final = "/v1/images/generations"
NEGATIVE: Final = "lowres, bad anatomy, bad hands, text, error, cropped, worst quality, low quality, blurry"
PHOTOSHOP_UNIT: Final[dict[str, Any]] = {
    "enabled": False,
    "input_image": "",
    "mask": "",
    "module": "canny",
    "model": "",
    "weight": 1,
    "resize_mode": "Crop and Resize",
    "lowvram": False,
    "processor_res": 512,
    "threshold_a": 0,
    "threshold_b": 0,
    "guidance_start": 0,
    "guidance_end": 1,
    "control_mode": "Balanced",
    "pixel_perfect": True,
}
PHOTOPEA_UNIT: Final[dict[str, Any]] = {
    "batch_images": "",
    "control_mode": 0,
    "enabled": False,
    "input_mode": 0,
    "low_vram": False,
    "model": "",
    "module": "",
    "output_dir": "",
    "linkedLayerName": "",
}
A1111: dict[str, dict[str, Any]] = {
    "SillyTavern": {
        "url": "http://127.0.0.1:8700",
        "auth": "",
        "prompt": "best quality, absurdres, aesthetic, a cat",
        "negative_prompt": NEGATIVE,
        "sampler_name": "DDIM",
        "scheduler": "normal",
        "steps": 20,
        "cfg_scale": 7,
        "width": 512,
        "height": 512,
        "restore_faces": False,
        "enable_hr": False,
        "hr_upscaler": "Latent",
        "hr_scale": 2,
        "denoising_strength": 0.7,
        "hr_second_pass_steps": 0,
        "hr_additional_modules": [],
        "override_settings": {"CLIP_stop_at_last_layers": 1},
        "override_settings_restore_afterwards": True,
        "clip_skip": 1,
        "save_images": True,
        "send_images": True,
        "do_not_save_grid": False,
        "do_not_save_samples": False,
    },
    "Open WebUI": {"prompt": "a cat", "batch_size": 1, "width": 512, "height": 512, "steps": 50},
    "Open WebUI's tool": {"prompt": "a cat", "batch_size": 1, "width": 512, "height": 512, "negative_prompt": "blurry"},
    "LibreChat": {
        "prompt": "a cat, high detail",
        "negative_prompt": "cgi, sketch, low quality",
        "cfg_scale": 4.5,
        "steps": 22,
        "width": 1024,
        "height": 1024,
    },
    "AIYA, a bot for Discord": {
        "prompt": "a cat",
        "negative_prompt": "",
        "steps": 30,
        "width": 512,
        "height": 512,
        "cfg_scale": 7.0,
        "sampler_index": "Euler a",
        "seed": 1234,
        "seed_resize_from_h": 0,
        "seed_resize_from_w": 0,
        "denoising_strength": None,
        "n_iter": 1,
        "styles": ["None"],
        "override_settings": {"CLIP_stop_at_last_layers": 1},
    },
    "a program that sends one side": {"prompt": "a cat", "width": 512},
    "the web UI's own examples": {
        "prompt": "a cat",
        "negative_prompt": "low quality, blurry",
        "sampler_name": "DPM++ 2M Karras",
        "seed": -1,
        "steps": 20,
        "cfg_scale": 7,
        "width": 512,
        "height": 768,
        "script_name": None,
        "script_args": [],
        "alwayson_scripts": {},
        "refiner_checkpoint": None,
        "refiner_switch_at": None,
        "force_task_id": "task(1234)",
    },
    "Auto-Photoshop-StableDiffusion-Plugin": {
        "selection_info": {"left": 0, "top": 0, "right": 512, "bottom": 512, "width": 512, "height": 512},
        "alwayson_scripts": {
            "ADetailer": {"args": [False, {"ad_model": "face_yolov8n.pt", "ad_confidence": 0.3}]},
            "controlnet": {"args": [PHOTOSHOP_UNIT, PHOTOSHOP_UNIT]},
        },
        "controlnet_units": [PHOTOSHOP_UNIT, PHOTOSHOP_UNIT],
        "prompt": "a cat",
        "negative_prompt": NEGATIVE,
        "original_prompt": "a cat",
        "original_negative_prompt": NEGATIVE,
        "clip_skip": 1,
        "steps": 20,
        "sampler_index": "Euler a",
        "width": 512,
        "height": 512,
        "denoising_strength": 0.7,
        "batch_size": 1,
        "cfg_scale": 7,
        "seed": "-1",
        "subseed": -1,
        "mask_blur": 4,
        "use_sharp_mask": False,
        "use_prompt_shortcut": False,
        "prompt_shortcut_ui_dict": {},
        "uniqueDocumentId": "8f2a4a70-1c3c",
        "mode": "txt2img",
        "restore_faces": False,
        "tiling": False,
        "override_settings": {},
        "override_settings_restore_afterwards": True,
    },
    "stable-diffusion-ps-pea": {
        "batch_size": 1,
        "cfg_scale": 7,
        "height": 512,
        "width": 512,
        "n_iter": 1,
        "steps": 20,
        "sampler_name": "",
        "prompt": "a cat",
        "negative_prompt": "",
        "seed": -1,
        "seed_enable_extras": False,
        "seed_resize_from_h": 0,
        "seed_resize_from_w": 0,
        "subseed": -1,
        "subseed_strength": 0,
        "override_settings": {},
        "override_settings_restore_afterwards": False,
        "do_not_save_grid": False,
        "do_not_save_samples": False,
        "s_churn": 0,
        "s_min_uncond": 0,
        "s_noise": 1.0,
        "s_tmax": None,
        "s_tmin": 0.0,
        "script_args": [],
        "script_name": None,
        "styles": [],
        "restore_faces": False,
        "enable_hr": False,
        "hr_negative_prompt": "",
        "hr_prompt": "",
        "hr_resize_x": 0,
        "hr_resize_y": 0,
        "hr_scale": 2.0,
        "hr_second_pass_steps": 0,
        "hr_upscaler": "Latent",
        "denoising_strength": 0.75,
        "tiling": False,
        "alwayson_scripts": {"ControlNet": {"args": [PHOTOPEA_UNIT]}},
    },
    "text-generation-webui": {
        "prompt": "(Masterpiece:1.1), detailed, intricate, colorful(a cat:1)",
        "seed": -1,
        "sampler_name": "DPM++ 2M",
        "enable_hr": False,
        "hr_scale": "1.0",
        "hr_upscaler": "ESRGAN_4x",
        "denoising_strength": 0.61,
        "steps": 32,
        "cfg_scale": 7,
        "width": 512,
        "height": 512,
        "restore_faces": False,
        "override_settings_restore_afterwards": True,
        "negative_prompt": "(worst quality, low quality:1.3)",
    },
}
OPENAI: dict[str, dict[str, Any]] = {
    "Open WebUI": {
        "model": "dall-e-2",
        "prompt": "a cat",
        "n": 1,
        "size": "512x512",
        "response_format": "b64_json",
    },
    "LibreChat": {
        "model": "gpt-image-1",
        "prompt": "a cat",
        "n": 1,
        "background": "auto",
        "output_format": "png",
        "quality": "auto",
        "size": "auto",
    },
    "LibreChat's DALL·E tool": {
        "model": "dall-e-3",
        "prompt": "a cat",
        "n": 1,
        "quality": "standard",
        "style": "vivid",
        "size": "1024x1024",
    },
    "SillyTavern": {
        "model": "dall-e-3",
        "prompt": "a cat",
        "n": 1,
        "size": "1024x1792",
        "quality": "standard",
        "style": "vivid",
        "response_format": "b64_json",
    },
    "pydantic-ai's tool for images": {
        "model": "gpt-image-1",
        "prompt": "a cat",
        "background": "auto",
        "moderation": "auto",
        "output_compression": 100,
        "quality": "auto",
        "size": "auto",
    },
    "n8n": {"model": "dall-e-3", "prompt": "a cat", "response_format": "b64_json"},
    "n8n, newer": {"model": "gpt-image-1-mini", "prompt": "a cat"},
    "Dify": {"model": "gpt-image-1", "prompt": "a cat", "n": 1, "size": "1536x1024"},
    "LobeChat": {"model": "gpt-image-1", "prompt": "a cat", "n": 1},
    "Home Assistant's action": {
        "model": "dall-e-3",
        "prompt": "a cat",
        "size": "1024x1024",
        "quality": "standard",
        "style": "vivid",
        "response_format": "url",
        "n": 1,
    },
}


def size_of(encoded: str) -> str:
    width, height = Image.open(io.BytesIO(base64.b64decode(encoded))).size
    return f"{width}x{height}"


@pytest.mark.parametrize("program", A1111)
def test_a_program_for_the_web_ui_gets_its_picture_without_settings(app: App, program: str):
    body = A1111[program]
    answer = draw(app, body)
    assert answer.status_code == 200, answer.text
    [picture] = answer.json["images"]
    size = f"{body['width']}x{body.get('height', 512)}"
    assert (size_of(picture), f"Size: {size}," in json.loads(answer.json["info"])["infotexts"][0]) == (size, True)


@pytest.mark.parametrize("program", OPENAI)
def test_a_program_for_openai_gets_its_picture_without_settings(app: App, program: str):
    body = OPENAI[program]
    [picture] = drawn(app, IMAGES, body).json["data"]
    if "b64_json" in picture:
        assert size_of(picture["b64_json"]) == body["size"] if "x" in body.get("size", "") else picture["b64_json"]


def test_what_a_model_cannot_vary_is_reported_in_the_answer(app: App):
    body = A1111["SillyTavern"] | {"override_settings": {"sd_model_checkpoint": "limner-gan"}}
    answer = draw(app, body)
    info = json.loads(answer.json["info"])
    assert (info["steps"], info["cfg_scale"], info["negative_prompt"]) == (1, 1.0, "")
    assert "negative_prompt: limner-gan cannot leave things out, so this had no effect." in info["warnings"]
    assert "steps: limner-gan always uses 1, not 20." in info["warnings"]
    assert "cfg_scale: limner-gan always uses 1, not 7." in info["warnings"]
    assert any("negative_prompt" in warning for warning in answer.headers.getlist("Warning"))


def test_a_size_is_refused_where_the_caller_could_name_one_of_the_model_or_the_operator_wants_that(
    client: ApiClient, make_app: Callable[..., App]
):
    own = client.post(IMAGES, json=OPENAI["Dify"] | {"model": "limner-flow"})
    assert (own.status_code, own.json["error"]["param"]) == (422, "size")
    strict = make_app(unknown_sizes="refuse").test_client()
    for path, body in (("/sdapi/v1/txt2img", A1111["SillyTavern"]), (IMAGES, OPENAI["Dify"])):
        refused = strict.post(path, json=body)
        assert refused.status_code == 422, refused.text


HOME_ASSISTANT: Final[dict[str, Any]] = {
    "model": "gpt-4o-mini",
    "input": [
        {"type": "message", "role": "developer", "content": "You are a helpful assistant."},
        {"type": "message", "role": "user", "content": "a cat"},
    ],
    "max_output_tokens": 3000,
    "user": "01JABCDEF",
    "store": True,
    "stream": True,
    "top_p": 1.0,
    "temperature": 1.0,
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "text": {"verbosity": "medium"},
    "prompt_cache_retention": "24h",
    "tools": [
        {"type": "image_generation", "model": "gpt-image-1.5", "output_format": "png", "input_fidelity": "high"},
    ],
    "tool_choice": {"type": "image_generation"},
}


def test_home_assistant_gets_its_picture_and_is_told_what_has_no_effect(app: App):
    answer = drawn(app, "/v1/responses", HOME_ASSISTANT)
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    [call] = [
        each["item"] for each in events if each["type"] == "response.output_item.done" and "result" in each["item"]
    ]
    assert (size_of(call["result"]), call["output_format"]) == (call["size"], "png")
    assert call["revised_prompt"]
    assert events[-1]["type"] == "response.completed"
    warning = answer.headers["Warning"]
    assert "no effect: max_output_tokens, prompt_cache_retention, include, text, reasoning" in warning
    assert "developer are not followed" in warning
