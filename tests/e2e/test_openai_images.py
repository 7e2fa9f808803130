"""The official openai client makes images with a running service if only its base URL is changed."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import httpx
import openai
import pytest
from PIL import Image

from tests.e2e.guides import run_examples
from tests.processes import eventually


@pytest.fixture(scope="module")
def client(door: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{door}/v1", api_key="unused", max_retries=0) as built:
        yield built


def generate(client: openai.OpenAI, **more: Any) -> Any:
    return cast("Any", client.images).generate(**dict[str, Any]({"model": "canvas", "prompt": "a red apple"} | more))


def picture(item: Any) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(item.b64_json)))


def jobs(door: str, prompt: str) -> list[dict[str, Any]]:
    return [job for job in httpx.get(f"{door}/api/v1/jobs").json()["items"] if job["prompt"] == prompt]


def test_an_image_is_returned_as_base64_with_its_seed_its_job_and_the_usage(client: openai.OpenAI, door: str):
    answer = generate(client, quality="high", extra_body={"seed": 66051, "metadata": {"page": 3}}, user="u-1")
    [item] = answer.data
    assert picture(item).format == "PNG"
    assert picture(item).getpixel((0, 0)) == (3, 2, 1)  # the null model paints the seed
    assert (item.seed, item.revised_prompt, item.url) == (66051, "a red apple", None)
    assert (answer.size, answer.quality, answer.background, answer.output_format) == ("64x32", "high", "opaque", "png")
    job = httpx.get(f"{door}/api/v1/jobs/{answer.job_id}").json()
    assert (job["status"], job["steps"], job["seed"]) == ("succeeded", 8, 66051)
    assert job["metadata"] == {"page": 3, "user": "u-1"}
    assert answer.safety_identifier == "u-1"
    assert answer.usage.input_tokens_details.text_tokens == 3
    assert answer.usage.output_tokens == 8
    assert answer.usage.total_tokens == 11


def test_several_images_are_returned_by_url_in_the_requested_format(client: openai.OpenAI):
    answer: Any = generate(client, n=3, response_format="url", output_format="webp", extra_body={"seed": 5})
    assert [item.seed for item in answer.data] == [5, 6, 7]
    for item in answer.data:
        assert Image.open(io.BytesIO(httpx.get(item.url).content)).format == "WEBP"


def test_compression_changes_the_size_of_the_file(client: openai.OpenAI):
    def size(compression: int) -> int:
        answer: Any = client.images.generate(
            model="limner-gan",
            prompt="a cat",
            output_format="jpeg",
            output_compression=compression,
            extra_body={"seed": 1},
        )
        assert picture(answer.data[0]).format == "JPEG"
        return len(answer.data[0].b64_json or "")

    assert size(10) < size(95) / 2


def test_a_picture_is_scaled_to_a_size_that_the_model_does_not_have_only_on_request(client: openai.OpenAI):
    with pytest.raises(openai.UnprocessableEntityError, match="64x32, 32x64, 64x64"):
        generate(client, size="1024x1024")
    answer = generate(client, size="200x50", extra_body={"fit": True, "seed": 0})
    assert answer.size == "200x50"
    scaled = picture(answer.data[0])
    assert scaled.size == (200, 50)
    assert (scaled.getpixel((5, 25)), scaled.getpixel((100, 25))) == ((255, 255, 255), (0, 0, 0))


def test_a_prompt_is_interpreted_on_request(client: openai.OpenAI):
    answer: Any = client.images.generate(
        model="limner-gan", prompt="please draw a red apple", extra_body={"interpret": True}
    )
    assert answer.data[0].revised_prompt == "a red apple"


def test_the_names_of_openais_models_lead_to_the_default_model(client: openai.OpenAI):
    drawn: Any = client.images.generate(model="gpt-image-1", prompt="a cat")
    assert drawn.model == "limner-flow"
    assert {"canvas", "dall-e-3", "gpt-image-1"} <= {model.id for model in client.models.list()}
    model: Any = client.models.retrieve("dall-e-3")
    assert model.root == "limner-flow"


def test_an_unknown_model_is_refused(client: openai.OpenAI):
    with pytest.raises(openai.NotFoundError) as refused:
        generate(client, model="gpt-9")
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")
    assert "canvas" in cast(Any, refused.value.body)["message"]


def test_a_client_that_gives_up_does_not_cancel_its_job(client: openai.OpenAI, door: str):
    with pytest.raises(openai.APITimeoutError):
        generate(client, prompt="patience", timeout=0.5, extra_body={"steps": 50})
    eventually(lambda: [job["status"] for job in jobs(door, "patience")] == ["succeeded"])


@pytest.mark.long
def test_a_client_that_asks_for_it_cancels_its_job_by_giving_up(client: openai.OpenAI, door: str):
    for stream in (False, True):
        prompt, asked = f"impatience {stream}", {"X-Cancel-On-Disconnect": "true"}
        with pytest.raises(openai.APITimeoutError):
            generate(client, prompt=prompt, timeout=1, extra_body={"steps": 900, "stream": stream}, extra_headers=asked)
        eventually(lambda text=prompt: [job["status"] for job in jobs(door, text)] == ["canceled"])


def test_the_clients_own_retries_make_one_job_and_return_its_image(client: openai.OpenAI, door: str):
    patient = client.with_options(max_retries=50)
    answer = generate(patient, prompt="again and again", timeout=0.7, extra_body={"steps": 60})
    assert [job["id"] for job in jobs(door, "again and again")] == [answer.job_id]


def post(door: str, count: int, **more: Any) -> dict[str, Any]:
    body = {"model": "canvas", "prompt": "at once"} | more
    headers = {"X-Stainless-Retry-Count": str(count)}
    return httpx.post(f"{door}/v1/images/generations", json=body, headers=headers, timeout=60).json()


def test_tries_of_one_request_that_arrive_at_once_make_one_job(door: str):
    def send(count: int) -> dict[str, Any]:
        return post(door, count, steps=20)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send, [0, 1, 2, 1]))
    assert len({answer["job_id"] for answer in answers}) == 1
    assert len({answer["data"][0]["b64_json"] for answer in answers}) == 1


def test_first_tries_are_never_merged_and_a_retry_only_with_its_own_request(door: str):
    with ThreadPoolExecutor(3) as pool:
        sent = [pool.submit(post, door, 0, prompt="first") for _ in range(3)]
        first = [each.result()["job_id"] for each in sent]
    assert len(set(first)) == 3
    assert post(door, 1, prompt="first", output_format="webp")["job_id"] not in first
    assert post(door, 1, prompt="first")["job_id"] in first


def test_a_canceled_job_is_an_error_that_the_client_does_not_retry(client: openai.OpenAI, door: str):
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(generate, client.with_options(max_retries=2), prompt="stop", extra_body={"steps": 1000})
        [job] = eventually(lambda: jobs(door, "stop"))
        httpx.post(f"{door}/api/v1/jobs/{job['id']}/cancel").raise_for_status()
        with pytest.raises(openai.ConflictError) as refused:
            asked.result(60)
    assert (refused.value.code, len(jobs(door, "stop"))) == ("invalid_state", 1)


def test_a_stream_sends_previews_and_then_the_image(client: openai.OpenAI):
    events = list(generate(client, stream=True, partial_images=2, output_format="jpeg", extra_body={"steps": 200}))
    kinds = [event.type for event in events]
    assert kinds == ["image_generation.partial_image"] * (len(kinds) - 1) + ["image_generation.completed"]
    assert 1 <= len(kinds) - 1 <= 2
    assert [event.partial_image_index for event in events[:-1]] == list(range(len(kinds) - 1))
    assert all(picture(event).format == "JPEG" for event in events)
    assert (events[-1].size, events[-1].usage.output_tokens) == ("64x32", 200)


def test_a_stream_without_partial_images_sends_each_image(client: openai.OpenAI):
    events = list(generate(client, stream=True, n=2, extra_body={"seed": 4}))
    assert [(event.type, event.seed) for event in events] == [
        ("image_generation.completed", 4),
        ("image_generation.completed", 5),
    ]


def test_a_stream_ends_with_the_error_of_its_job(client: openai.OpenAI, door: str):
    stream = generate(client, prompt="halt", stream=True, extra_body={"steps": 1000})
    [job] = eventually(lambda: jobs(door, "halt"))
    httpx.post(f"{door}/api/v1/jobs/{job['id']}/cancel").raise_for_status()
    with pytest.raises(openai.APIError, match="canceled"):
        list(stream)


def png(colour: str | tuple[int, ...], mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (64, 32), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("many", [False, True])
def test_an_image_is_edited_with_a_mask(client: openai.OpenAI, door: str, many: bool):
    image = ("boat.png", png("red"), "image/png")
    answer: Any = client.images.edit(
        model="canvas",
        image=[image] if many else image,
        mask=io.BytesIO(png((0, 0, 0, 0), "RGBA")),
        prompt="a red boat",
        n=2,
        quality="high",
        extra_body={"seed": 9, "strength": 0.5, "metadata": {"page": "3"}, "reproducible": True},
    )
    assert [item.seed for item in answer.data] == [9, 10]
    job = httpx.get(f"{door}/api/v1/jobs/{answer.job_id}").json()
    assert (job["strength"], job["steps"], job["metadata"], job["reproducible"]) == (0.5, 8, {"page": "3"}, True)
    assert job["image"]
    assert job["mask"]
    assert answer.usage.input_tokens_details.image_tokens == 2


def test_an_edit_is_streamed(client: openai.OpenAI):
    events = list(client.images.edit(model="canvas", image=png("red"), prompt="x", stream=True, partial_images=1))
    assert events[-1].type == "image_edit.completed"


def test_an_edit_with_several_images_or_a_model_that_cannot_is_refused(client: openai.OpenAI):
    for image, model in (([png("red"), png("blue")], "canvas"), (png("red"), "limner-flow")):
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            client.images.edit(model=model, image=image, prompt="x")
        assert refused.value.param == "image"


def test_a_variation_of_an_own_picture_has_its_prompt(client: openai.OpenAI):
    first = generate(client, prompt="a green hill")
    data = base64.b64decode(first.data[0].b64_json)
    with pytest.deprecated_call():  # the client's own notice
        answer = client.images.create_variation(model="canvas", image=data, n=2, response_format="b64_json")
    assert [item.revised_prompt for item in answer.data] == ["a green hill"] * 2


def test_the_guides_examples_run(
    door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    run_examples("openai.md", door)
    made = ("apple-0", "apple-1", "boat", "mask", "edited", "response-0", "response-1", "apple")
    assert {file.stem: file.read_bytes()[1:4] for file in tmp_path.iterdir()} == dict.fromkeys(made, b"PNG")
    said = capsys.readouterr().out
    assert "image_generation.completed" in said
    assert "response.completed" in said
    assert "invalid_request size" in said
