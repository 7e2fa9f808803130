"""The operations of the doors of Replicate, A1111 and Hugging Face, and bodies that are none."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final, cast

from hypothesis import strategies as st
from webuiapi import WebUIApi

from tests.fuzz.doors import values
from tests.fuzz.doors.openai import IDS, REFERENCE, REFERENCES, SOURCES, Operation
from tests.fuzz.doors.requests import Request
from tests.fuzz.doors.values import BAD_PICTURES, GOOD_PICTURES, Body, bodies, data_url, stripped

MODEL: Final = st.sampled_from(("limner/limner-gan", "limner/limner-flow", "x/y", "limner/limner-gan:0", "", "\x00"))
NOT_IN_PAYLOADS: Final = ("self", "use_async", "use_deprecated_controlnet", "controlnet_units", "images", "mask_image")


def _of_default(value: Any) -> st.SearchStrategy[Any]:
    """Values like a default in a client's signature."""
    usual: Any = cast("Any", value) if isinstance(value, str | int | float | list | dict) else None
    return st.one_of(st.just(usual), values.anything)


def _payload(call: Any) -> st.SearchStrategy[Body]:
    """The payload that a client builds from its own signature."""
    named = {name: each.default for name, each in inspect.signature(call).parameters.items()}
    return st.fixed_dictionaries(
        {},
        optional={name: _of_default(value) for name, value in named.items() if name not in NOT_IN_PAYLOADS},
    )


UNITS: Final = bodies(
    {
        "enabled": st.booleans(),
        "image": REFERENCE,
        "module": st.sampled_from(("ip-adapter-auto", "ip-adapter_clip_sd15", "none", "canny")),
        "model": st.sampled_from(("None", "ip-adapter_sd15")),
        "weight": st.floats(-1, 2),
        "guidance_start": st.floats(0, 1),
        "guidance_end": st.floats(0, 1),
        "control_mode": st.sampled_from((0, 2, "Balanced", "x")),
    },
    ("image", "module"),
)
"""Units of the ControlNet extension."""
PAYLOADS: Final = {name: _payload(getattr(WebUIApi, name)) for name in ("txt2img", "img2img")}
GENERATION: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "prompt": st.one_of(values.prompts, st.sampled_from(("a <lora:x:1>", "b <lora:x:1e999>", "<lora:y>"))),
    "width": st.sampled_from((256, 64, 512)),
    "height": st.sampled_from((256, 64)),
    "batch_size": st.integers(1, 2),
    "n_iter": st.integers(1, 2),
    "steps": st.integers(1, 4),
    "cfg_scale": st.floats(0, 3),
    "seed": st.integers(-1, 2**32 - 1),
    "sampler_name": st.sampled_from(("Euler a", "Automatic", "x")),
    "styles": st.lists(st.sampled_from(("flat", "x")), max_size=2),
    "override_settings": st.dictionaries(
        st.sampled_from(("sd_model_checkpoint", "samples_format", "enable_pnginfo", "sd_vae", "x")),
        st.one_of(st.sampled_from(("limner-gan", "collage", "jpg", "webp", True)), values.anything),
        max_size=2,
    ),
    "alwayson_scripts": st.fixed_dictionaries(
        {"ControlNet": st.fixed_dictionaries({"args": st.lists(UNITS, max_size=3)})}
    ),
}
MULTIPLE: Final = ("Content-Type", "multipart/form-data; boundary=b")
RAW: Final = (
    *(b"", b"{", b"[]", b"null", b'"a"', b"\xff\xfe", b'{"a": 1}{"b": 2}', b'{"prompt": "a", "prompt": "b"}'),
    *(b"[" * 100_000, b'{"a":' * 5_000, b'{"n": 1' + b"0" * 5_000 + b"}", b'{"n": NaN}', b'{"\\ud800": 1}'),
    *(b"--b\r\n", b"--b--\r\n", b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\nx'),
    b'--b\r\nContent-Disposition: form-data; name="prompt"; filename="\\"\r\n\r\nx\r\n--b--\r\n',
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\nContent-Type: \xff\r\n\r\n\r\n--b--\r\n',
    b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' * 1_100 + b"--b--\r\n",
    b"--b\r\n" + b"X: y\r\n" * 9_000,
    b"a=" + b"x" * 600_000,
    b"&".join([b"a=b"] * 2_000),
)
TYPES: Final = (
    *("application/json", "multipart/form-data; boundary=b", "multipart/form-data", "text/plain", ""),
    *(
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "multipart/form-data; boundary=" + "b" * 99,
    ),
)
HEADERS: Final = (
    *(("Authorization", "Basic !!"), ("Authorization", "Bearer lmn_x"), ("Authorization", "Basic bG1uOg==")),
    *(("Origin", "http://[::1"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site"), ("Accept", "text/html")),
    *(("Accept-Language", "de;q=x, \xff"), ("Cookie", "limner_key=\xff; language=\xff"), ("Prefer", "wait=999")),
    *(("Idempotency-Key", "\xe9"), ("X-Stainless-Retry-Count", "-1"), ("Range", "bytes=9-1"), ("If-None-Match", '"')),
    *(("Content-Encoding", "gzip"), ("X-Request-Id", "a b"), ("traceparent", "00-0-0-0"), ("X-Output-Files", "x")),
)
PATHS: Final = (
    *("/v1/images/generations", "/v1/images/edits", "/v1/images/variations", "/v1/chat/completions", "/v1/responses"),
    *("/v1/files", "/v1/batches", "/v1/moderations", "/v1/webhook_endpoints", "/replicate/v1/predictions"),
    *("/replicate/v1/files", "/replicate/v1/deployments/limner/limner-gan/predictions", "/sdapi/v1/txt2img"),
    *("/sdapi/v1/img2img", "/sdapi/v1/options", "/sdapi/v1/png-info", "/sdapi/v1/interrupt", "/draw", "/session"),
    *(
        "/hf/models/limner-gan",
        "/session/end",
        "/language",
        "/v1/",
        "/sdapi/v1/x",
        "/replicate/v1/models",
        "/replicate/v1/models/%00/x",
        "/images/x",
        "/static/../x",
    ),
)


OF_POPULAR_MODELS: Final[dict[str, st.SearchStrategy[Any]]] = {
    "size": st.sampled_from(("64x64", "1024x1024", "x")),
    "aspect_ratio": st.sampled_from(("1:1", "16:9", "custom", "0:1", "9999:1", "\u0663:1")),
    "megapixels": st.sampled_from(("1", "0.25", "0.004 MP", 0, 1e300, "x")),
    "output_format": st.sampled_from(("png", "jpg", "webp", "gif")),
    "output_quality": st.integers(-1, 101),
    "guidance": st.floats(0, 3),
    "cfg": st.floats(0, 3),
    "steps": st.integers(1, 4),
    "scheduler": st.sampled_from(("K_EULER", "x")),
    "lora_weights": st.sampled_from(("x", "")),
    "lora_scale": st.floats(-5, 5),
    "go_fast": st.booleans(),
    "disable_safety_checker": st.booleans(),
    "refine": st.sampled_from(("no_refiner", "expert_ensemble_refiner")),
    "reference_images": REFERENCES,
    "image_input": REFERENCES,
    "image_prompt": REFERENCE,
    "image_prompt_strength": st.floats(-1, 2),
    "padding_mask_crop": st.integers(-1, 70_000),
}
"""Inputs as Replicate's own models name them."""


@st.composite
def predictions(draw: st.DrawFn) -> Request:
    given = bodies(
        {
            "prompt": values.prompts,
            "width": st.sampled_from((256, 64)),
            "height": st.sampled_from((256, 64)),
            "num_outputs": st.integers(1, 2),
            "num_inference_steps": st.integers(1, 4),
            "guidance_scale": st.floats(0, 3),
            "seed": st.integers(0, 9),
            "image": st.one_of(SOURCES, st.just("http://127.0.0.1/replicate/v1/files/@other.file@")),
            "mask": SOURCES,
            "prompt_strength": st.floats(-1, 2),
            "style": st.sampled_from(("flat", "x")),
            **OF_POPULAR_MODELS,
        },
        ("prompt",),
    )
    usual: dict[str, st.SearchStrategy[Any]] = {
        "input": given,
        "version": MODEL,
        "stream": st.booleans(),
        "webhook": st.one_of(st.just("https://93.184.216.34/hook"), st.sampled_from(values.BAD_URLS)),
        "webhook_events_filter": st.lists(st.sampled_from(("start", "completed", "x")), max_size=2),
    }
    path = draw(
        st.sampled_from(
            (
                *("predictions", "models/limner/limner-gan/predictions", "models/limner/collage/predictions"),
                "deployments/limner/limner-flow/predictions",
            )
        )
    )
    body = draw(bodies(usual, ("input", "version") if path == "predictions" else ("input",)))
    waits = st.sampled_from(("wait", "wait=1", "wait=0", "wait=99", "x", "respond-async"))
    lives = st.sampled_from(("60", "5m", "1s", "25h", "", "٣m", "99999h"))
    headers = draw(st.fixed_dictionaries({}, optional={"Prefer": waits, "Cancel-After": lives}))
    inputs: Any = body.get("input")
    asks: dict[str, Any] = {}
    if isinstance(inputs, dict):
        asked = {"prompt": "prompt", "seed": "seed", "num_outputs": "n", "num_inference_steps": "steps"}
        taken = cast("dict[str, Any]", inputs)
        asks = {ours: taken[name] for name, ours in asked.items() if taken.get(name) is not None}
    if isinstance(asks.get("prompt"), str):
        asks["prompt"] = stripped(asks["prompt"])
    needs = ("input", "version", "prompt", "Prefer", "Cancel-After")
    return Request("POST", f"/replicate/v1/{path}", body, headers=headers, makes_job=True, asks=asks, needs=needs)


@st.composite
def replicate_files(draw: st.DrawFn) -> Request:
    content = draw(st.sampled_from((*GOOD_PICTURES, *BAD_PICTURES)))
    metadata = st.sampled_from(("{}", '{"a": 1}', "[]", "null", "x", '{"a": "\\u0000"}', '{"a": NaN}', "[" * 9_000))
    form = draw(st.fixed_dictionaries({}, optional={"metadata": metadata, "x": st.text(max_size=3)}))
    names = st.one_of(st.just("a.png"), st.sampled_from(values.BAD_TEXTS))
    files = ((draw(st.sampled_from(("content", "content", "x"))), (draw(names), content)),)
    return Request("POST", "/replicate/v1/files", form=form, files=files, needs=("content", "metadata"))


@st.composite
def replicate_reads(draw: st.DrawFn) -> Request:
    method = draw(st.sampled_from(("GET", "GET", "GET", "DELETE", "POST")))
    folders = ("predictions", "files", "models", "models/limner", "deployments/limner", "collections", "account", "x")
    folder = draw(st.sampled_from(folders))
    each = draw(st.one_of(st.just(""), IDS.map(lambda given: f"/{given}"), st.just("/limner-gan")))
    tail = draw(st.sampled_from(("", "", "/cancel", "/stream", "/versions", "/versions/x")))
    query = draw(st.fixed_dictionaries({}, optional={"cursor": IDS}))
    body: Body | None = {} if method == "POST" else None  # lacks what a new prediction and a new file need
    path = f"/replicate/v1/{folder}{each}{tail}"
    return Request(method, path, body, query=query, needs=("input", "content"))


@st.composite
def a1111_generations(draw: st.DrawFn) -> Request:
    kind = draw(st.sampled_from(("txt2img", "txt2img", "img2img")))
    usual, required = dict(GENERATION), ["prompt"]
    if kind == "img2img":
        usual |= {"init_images": st.lists(SOURCES, max_size=2), "mask": SOURCES, "denoising_strength": st.floats(0, 1)}
        required.append("init_images")
    body = draw(bodies(usual, required, PAYLOADS[kind]))
    asks: dict[str, Any] = {"seed": body["seed"]} if _is_number(body.get("seed")) and body["seed"] >= 0 else {}
    parts = body.get("batch_size"), body.get("n_iter")
    if all(part is None or _is_number(part) for part in parts):
        asks["n"] = (parts[0] or 1) * (parts[1] or 1)
    needs = ("prompt", "init_images", "mask", "batch_size", "sd_model_checkpoint")
    return Request("POST", f"/sdapi/v1/{kind}", body, makes_job=True, asks=asks, needs=needs)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@st.composite
def a1111_others(draw: st.DrawFn) -> Request:
    path = draw(st.sampled_from(("options", "png-info", "png-info", "interrupt", "skip")))
    options = bodies(
        {
            "sd_model_checkpoint": st.sampled_from(("limner-gan", "limner-flow", "x")),
            "enable_pnginfo": st.booleans(),
            "samples_format": st.sampled_from(("png", "jpg", "tiff")),
        },
        (),
    )
    encoded = [data_url(each) for each in (*GOOD_PICTURES, *BAD_PICTURES)]
    files = st.sampled_from([*encoded, *(each.partition(",")[2] for each in encoded), *values.BAD_URLS])
    body = draw(bodies({"image": files}, ("image",)) if path == "png-info" else options)
    return Request("POST", f"/sdapi/v1/{path}", body, needs=("image",))


@st.composite
def a1111_reads(draw: st.DrawFn) -> Request:
    names = ("options", "sd-models", "samplers", "schedulers", "upscalers", "loras", "prompt-styles", "progress", "x")
    query = draw(st.fixed_dictionaries({}, optional={"skip_current_image": st.sampled_from(("true", "x", "é"))}))
    return Request("GET", f"/sdapi/v1/{draw(st.sampled_from(names))}", query=query)


@st.composite
def hugging_face(draw: st.DrawFn) -> Request:
    usual: dict[str, st.SearchStrategy[Any]] = {
        "width": st.sampled_from((256, 64, 512)),
        "height": st.sampled_from((256, 64)),
        "num_inference_steps": st.integers(1, 4),
        "guidance_scale": st.floats(0, 3),
        "seed": st.integers(0, 9),
        "negative_prompt": values.prompts,
        "style": st.sampled_from(("flat", "x")),
        "strength": st.floats(-1, 2),
        "mask_image": st.sampled_from((*GOOD_PICTURES, *BAD_PICTURES)).map(data_url),
        "padding_mask_crop": st.integers(-1, 70_000),
        "target_size": st.fixed_dictionaries({"width": st.integers(), "height": st.integers()}),
        "prompt": values.prompts,
        "reference_images": REFERENCES,
        "reference_scale": st.floats(-1, 2),
    }
    encoded = [data_url(each).partition(",")[2] for each in (*GOOD_PICTURES, *BAD_PICTURES)]
    given = {"inputs": st.one_of(values.prompts, st.sampled_from(encoded)), "parameters": bodies(usual, ())}
    body = draw(bodies(given, ("inputs",)))
    models = st.sampled_from(("limner-gan", "limner-flow", "collage", "dall-e-3", "x/y", "%00", "../gan", ""))
    accepts = st.sampled_from(("image/png", "image/jpeg", "image/webp", "*/*", "text/html", "x", ";q=x"))
    headers = draw(st.fixed_dictionaries({}, optional={"Accept": accepts}))
    needs = ("inputs", "prompt", "model", "image", "width", "height", "target_size")
    return Request("POST", f"/hf/models/{draw(models)}", body, headers=headers, makes_job=True, needs=needs)


@st.composite
def raw_bodies(draw: st.DrawFn) -> Request:
    """Bodies and headers that no client sends, to every route."""
    headers = dict(draw(st.lists(st.sampled_from(HEADERS), max_size=2)))
    headers["Content-Type"] = draw(st.sampled_from(TYPES))
    method = draw(st.sampled_from(("POST", "POST", "POST", "PUT", "PATCH", "GET", "DELETE", "QUERY")))
    body = draw(st.one_of(st.sampled_from(RAW), st.binary(max_size=20)))
    return Request(method, draw(st.sampled_from(PATHS)), raw=body, headers=headers)


OPERATIONS: Final[Mapping[str, Operation]] = {
    "replicate predictions": predictions(),
    "replicate files": replicate_files(),
    "replicate reads": replicate_reads(),
    "a1111 generations": a1111_generations(),
    "a1111 options and files": a1111_others(),
    "a1111 reads": a1111_reads(),
    "hugging face": hugging_face(),
    "bodies that are none": raw_bodies(),
}
