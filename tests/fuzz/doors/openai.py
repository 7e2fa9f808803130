"""The operations of OpenAI's door, from the types of its own client."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping
from typing import Any, Final

from hypothesis import strategies as st
from openai.types import image_create_variation_params as variation_params
from openai.types import image_edit_params as edit_params
from openai.types import image_generate_params as generate_params
from openai.types import moderation_create_params as moderation_params
from openai.types.chat import completion_create_params as chat_params
from openai.types.responses import response_create_params as response_params

from tests.fuzz.doors import values
from tests.fuzz.doors.requests import Request
from tests.fuzz.doors.values import BAD_PICTURES, GOOD_PICTURES, Body, bodies, data_url, stripped

Operation = st.SearchStrategy[Request]

IDS: Final = st.sampled_from(
    [f"@{whose}.{kind}@" for whose in ("own", "other") for kind in ("job", "image", "file", "batch", "response")]
    + ["job_0", "resp_0", "file_0", "batch_0", "x", "img_%00", "..%2f..", "job_" + "0" * 40]
)
SIZES: Final = st.sampled_from(("auto", "256x256", "64x64", "512x512", "300x200"))
MODELS: Final = st.sampled_from(("limner-flow", "limner-gan", "gpt-image-1", "dall-e-3", "limner-gan", "collage"))
PICTURES: Final = st.sampled_from([data_url(each) for each in (*GOOD_PICTURES, *BAD_PICTURES)])
REFERENCE: Final = st.one_of(
    PICTURES,
    st.sampled_from(("@own.image@", "@other.image@", "@own.job@", "@other.job@", *values.BAD_URLS)),
)
REFERENCES: Final = st.lists(REFERENCE, max_size=3)
USUAL: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "prompt": values.prompts,
    "model": MODELS,
    "n": st.integers(1, 2),
    "size": SIZES,
    "fit": st.booleans(),
    "seed": st.integers(0, 2**32 - 1),
    "steps": st.integers(1, 4),
    "guidance": st.floats(0, 3),
    "style": st.sampled_from(("flat", "3d", "x")),
    "quality": st.sampled_from(("low", "high", "auto")),
    "output_format": st.sampled_from(("png", "webp", "jpeg")),
    "output_compression": st.integers(0, 100),
    "response_format": st.sampled_from(("b64_json", "url")),
    "stream": st.booleans(),
    "partial_images": st.integers(0, 3),
    "user": st.text(max_size=5),
    "metadata": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    "interpret": st.booleans(),
    "expires_in": st.floats(20, 100),
    "priority": st.sampled_from(("low", "high")),
    "reference_images": REFERENCES,
    "reference_scale": st.floats(-1, 2),
}
SOURCES: Final = st.one_of(
    PICTURES,
    st.sampled_from(("@own.image@", "@other.image@", {"file_id": "@other.file@"}, {"file_id": "@own.file@"})),
    st.sampled_from(values.BAD_URLS),
)
ENDPOINTS: Final = st.sampled_from(("/v1/images/generations", "/v1/images/edits", "/v1/responses"))
PAGE_PARAMETERS: Final = ("after", "limit", "order", "purpose", "stream", "starting_after", "include[]", "x")
RETRIES: Final = st.sampled_from(({}, {}, {}, {"X-Stainless-Retry-Count": "0"}, {"X-Stainless-Retry-Count": "x"}))
GENERATE: Final = st.one_of(
    st.from_type(generate_params.ImageGenerateParamsNonStreaming),
    st.from_type(generate_params.ImageGenerateParamsStreaming),
)
EDIT: Final = st.from_type(edit_params.ImageEditParamsNonStreaming)
VARIATION: Final = st.from_type(variation_params.ImageCreateVariationParams)


def asks(body: Body) -> dict[str, Any]:
    """What the job's spec must have."""
    if body.get("interpret"):
        return {}
    asked = {name: body[name] for name in ("prompt", "n", "seed", "steps") if body.get(name) is not None}
    if isinstance(asked.get("prompt"), str):
        asked["prompt"] = stripped(asked["prompt"])
    return asked


@st.composite
def generations(draw: st.DrawFn) -> Request:
    body = draw(bodies(USUAL, ("prompt",), GENERATE))
    headers = draw(RETRIES)
    return Request(
        "POST",
        "/v1/images/generations",
        body,
        headers=headers,
        makes_job=True,
        asks=asks(body),
        needs=("prompt", "metadata"),
    )


@st.composite
def edits(draw: st.DrawFn) -> Request:
    path, schema = draw(st.sampled_from((("/v1/images/edits", EDIT), ("/v1/images/variations", VARIATION))))
    usual = {**USUAL, "image": SOURCES, "images": st.lists(SOURCES, max_size=2), "mask": SOURCES}
    usual["strength"] = st.floats(0.1, 1)
    body = draw(bodies(usual, ("prompt", "image"), schema))
    needs = ("prompt", "image", "mask", "metadata")
    if draw(st.booleans()):
        return Request("POST", path, body, makes_job=True, needs=needs)
    pictures = st.sampled_from((*GOOD_PICTURES, *BAD_PICTURES))
    names = st.sampled_from(("image", "image[]", "mask", "image", "prompt", "n", "metadata[a]"))
    files = draw(st.lists(st.tuples(names, st.tuples(st.just("a.png"), pictures)), min_size=1, max_size=2))
    form = {name: value for name, value in body.items() if name not in ("image", "images", "mask")}
    return Request("POST", path, form=form, files=tuple(files), makes_job=True, needs=needs)


@st.composite
def chats(draw: st.DrawFn) -> Request:
    answer = st.sampled_from(("![a](/api/v1/images/@own.image@)", "![a](/api/v1/images/@other.image@)", "ok"))
    address = st.one_of(SOURCES, st.just("/api/v1/images/@own.image@"), st.just("/api/v1/images/@other.image@"))
    linked: st.SearchStrategy[Any] = st.fixed_dictionaries({"url": address})
    shown: st.SearchStrategy[Any] = st.fixed_dictionaries({"type": st.just("image_url"), "image_url": linked})
    words: st.SearchStrategy[Any] = st.fixed_dictionaries({"type": st.just("text"), "text": values.prompts})
    parts = st.lists(st.one_of(words, words, shown, st.just({"type": "input_audio"})), min_size=1, max_size=3)
    message: st.SearchStrategy[Any] = st.one_of(
        st.fixed_dictionaries({"role": st.just("user"), "content": st.one_of(values.prompts, parts)}),
        st.fixed_dictionaries({"role": st.just("assistant"), "content": answer}),
        st.fixed_dictionaries({"role": st.sampled_from(("system", "x")), "content": values.anything}),
        st.just({"role": "user", "content": "a" * 10_001}),
    )
    usual = {"messages": st.lists(message, min_size=1, max_size=3), "model": MODELS, "n": st.integers(1, 2)}
    usual |= {"stream": st.booleans(), "seed": st.integers(0, 9)}
    body = draw(bodies(usual, ("messages",), st.from_type(chat_params.CompletionCreateParamsNonStreaming)))
    return Request("POST", "/v1/chat/completions", body, makes_job=True, needs=("messages",))


@st.composite
def responses(draw: st.DrawFn) -> Request:
    fields = {name: values_ for name, values_ in USUAL.items() if name not in ("prompt", "stream", "interpret")}
    tool = bodies({**fields, "type": st.just("image_generation"), "input_image_mask": SOURCES}, ("type",))
    part = st.one_of(
        st.fixed_dictionaries({"type": st.just("input_text"), "text": values.prompts}),
        st.fixed_dictionaries({"type": st.just("input_image"), "image_url": SOURCES}),
        st.fixed_dictionaries({"type": st.just("input_image"), "file_id": IDS}),
    )
    content = st.one_of(values.prompts, st.lists(part, min_size=1, max_size=2))
    messages = st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": content}), min_size=1, max_size=2)
    calls = st.lists(st.fixed_dictionaries({"type": st.just("item_reference"), "id": IDS}), max_size=1)
    usual: dict[str, st.SearchStrategy[Any]] = {
        "input": st.one_of(values.prompts, messages, st.builds(operator.add, calls, messages)),
        "tools": st.lists(tool, min_size=1, max_size=1),
        "previous_response_id": IDS,
        "stream": st.booleans(),
        "background": st.booleans(),
        "store": st.booleans(),
        "metadata": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=1),
        "user": st.text(max_size=3),
    }
    schema = st.from_type(response_params.ResponseCreateParamsNonStreaming)
    body = draw(bodies(usual, ("input", "tools"), schema))
    return Request("POST", "/v1/responses", body, makes_job=True, needs=("input", "tools"))


@st.composite
def uploads(draw: st.DrawFn) -> Request:
    purpose = draw(st.sampled_from(("batch", "batch", "vision", "user_data", "x", "")))
    lines = draw(st.lists(_lines(draw(ENDPOINTS)), max_size=4))
    content = b"\n".join(lines) if purpose == "batch" else draw(st.sampled_from((*GOOD_PICTURES, *BAD_PICTURES)))
    form = draw(bodies({"purpose": st.just(purpose), "expires_after[seconds]": st.just("3600")}, ("purpose",)))
    name = draw(st.one_of(st.just("a.jsonl"), st.sampled_from(values.BAD_TEXTS)))
    field = draw(st.sampled_from(("file", "file", "file", "x")))
    return Request("POST", "/v1/files", form=form, files=((field, (name, content)),), needs=("file", "purpose"))


@st.composite
def _lines(draw: st.DrawFn, url: str) -> bytes:
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from((b"", b"[]", b"\xff", b"{", b"null", b'{"custom_id": "\\ud800"}')))
    fields = {name: each for name, each in USUAL.items() if name != "stream"}
    edit = {**fields, "image": SOURCES, "images": st.lists(SOURCES, max_size=2), "mask": SOURCES}
    tool = bodies({"type": st.just("image_generation"), "size": SIZES, "input_image_mask": SOURCES}, ("type",))
    response: dict[str, st.SearchStrategy[Any]] = {"input": values.prompts, "tools": st.lists(tool, max_size=2)}
    response |= {"previous_response_id": IDS, "store": st.booleans()}
    body = {
        "/v1/images/generations": bodies(fields, ("prompt",)),
        "/v1/images/edits": bodies(edit, ("prompt", "image")),
        "/v1/responses": bodies(response, ("input", "tools")),
    }
    call: dict[str, st.SearchStrategy[Any]] = {"method": st.just("POST"), "url": st.just(url), "body": body[url]}
    whole = draw(bodies({"custom_id": st.text(min_size=1, max_size=4)} | call, ("custom_id", *call)))
    return json.dumps(whole).encode()


@st.composite
def batches(draw: st.DrawFn) -> Request:
    file = st.sampled_from(("@own.upload@", "@own.upload@", "@own.upload@", "@other.file@", "@own.file@", "file_0"))
    usual: dict[str, st.SearchStrategy[Any]] = {
        "input_file_id": file,
        "endpoint": ENDPOINTS,
        "completion_window": st.sampled_from(("24h", "1h", "721h", "0h")),
        "metadata": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
        "output_expires_after": st.just({"anchor": "created_at", "seconds": 3600}),
    }
    body = draw(bodies(usual, ("input_file_id", "endpoint", "completion_window")))
    return Request("POST", "/v1/batches", body, needs=tuple(usual))


@st.composite
def moderations(draw: st.DrawFn) -> Request:
    url: st.SearchStrategy[Any] = st.fixed_dictionaries({"url": SOURCES})
    part = st.one_of(
        st.fixed_dictionaries({"type": st.just("text"), "text": values.prompts}),
        st.fixed_dictionaries({"type": st.just("image_url"), "image_url": url}),
    )
    several: st.SearchStrategy[Any] = st.lists(part, max_size=3)
    given = st.one_of(values.prompts, st.lists(values.prompts, max_size=33), several)
    schema = st.from_type(moderation_params.ModerationCreateParams)
    return Request("POST", "/v1/moderations", draw(bodies({"input": given}, ("input",), schema)), needs=("input",))


@st.composite
def endpoints(draw: st.DrawFn) -> Request:
    usual: dict[str, st.SearchStrategy[Any]] = {
        "name": st.text(min_size=1, max_size=4),
        "url": st.one_of(st.just("https://93.184.216.34/hook"), st.sampled_from(values.BAD_URLS)),
        "event_types": st.lists(st.sampled_from(("job.failed", "batch.failed", "x")), min_size=1, max_size=2),
        "overlap_seconds": st.integers(0, 9),
    }
    tail = draw(st.sampled_from(("", "", "/@own.endpoint@", "/@other.endpoint@", "/@other.endpoint@/rotate_secret")))
    needs = ("name", "url", "event_types") if not tail else ()
    return Request("POST", f"/v1/webhook_endpoints{tail}", draw(bodies(usual, needs)), needs=needs)


@st.composite
def reads(draw: st.DrawFn) -> Request:
    """Everything that takes an id or a page."""
    method = draw(st.sampled_from(("GET", "GET", "GET", "DELETE", "POST", "PUT")))
    folder = draw(st.sampled_from(("files", "batches", "responses", "models", "webhook_endpoints", "images")))
    tail = draw(st.sampled_from(("", "", "/content", "/cancel", "/rotate_secret", "/x")))
    each = draw(st.one_of(st.just(""), IDS.map(lambda given: f"/{given}")))
    page = st.sampled_from(PAGE_PARAMETERS)
    texts = st.sampled_from(("1", "0", "2", "true", "asc", "batch", "@other.file@", "@other.batch@", *values.BAD_TEXTS))
    usable = texts.filter(lambda text: "\ud800" not in text and len(text) < 9000)
    query: dict[str, str] = {**draw(st.dictionaries(page, usable, max_size=2))}
    body: dict[str, Any] | None = {} if method in ("POST", "PUT") else None
    needs = ("input_file_id", "input", "name", "file", "prompt")
    return Request(method, f"/v1/{folder}{each}{tail}", body, query=query, needs=needs)


OPERATIONS: Final[Mapping[str, Operation]] = {
    "openai generations": generations(),
    "openai edits and variations": edits(),
    "openai chat": chats(),
    "openai responses": responses(),
    "openai uploads": uploads(),
    "openai batches": batches(),
    "openai moderations": moderations(),
    "openai webhook endpoints": endpoints(),
    "openai reads": reads(),
}
