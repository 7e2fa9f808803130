"""The inference client of huggingface_hub, unmodified, against a real service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError, InferenceTimeoutError
from PIL import Image

from limner_client import Client
from tests.e2e.guides import run_examples
from tests.e2e.running import apart
from tests.processes import eventually

SMALL: dict[str, Any] = {"width": 64, "height": 64}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No token of the user's own, and no other server."""
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")


def client_of(door: str, model: str, **options: Any) -> Any:
    return InferenceClient(model=f"{door}/hf/models/{model}", **options)


def test_a_picture_is_drawn_of_a_text_and_again_from_its_seed(door: str):
    client = client_of(door, "limner-gan")
    first = client.text_to_image("a red apple", seed=7, **SMALL)
    assert (first.size, first.format) == ((64, 64), "PNG")
    assert client.text_to_image("a red apple", seed=7, extra_body={"style": "flat"}, **SMALL).tobytes()
    assert client.text_to_image("a red apple", seed=7, **SMALL).tobytes() == first.tobytes()
    by_base_url = InferenceClient(base_url=f"{door}/hf/models/limner-gan", api_key="unused")
    assert by_base_url.text_to_image("a red apple", seed=7, **SMALL).tobytes() == first.tobytes()


def test_several_calls_of_the_asynchronous_client_are_answered_together(door: str):
    async def draw() -> list[Any]:
        async with AsyncInferenceClient(model=f"{door}/hf/models/limner-gan") as client:
            return await asyncio.gather(*[client.text_to_image(f"a cat, number {n}", **SMALL) for n in range(4)])

    assert [picture.size for picture in apart(asyncio.run, draw())] == [(64, 64)] * 4


def test_a_picture_is_drawn_from_a_picture(door: str, tmp_path: Path):
    path = tmp_path / "start.jpg"
    Image.new("RGB", (40, 80), "red").save(path)
    client = client_of(door, "canvas")
    assert client.image_to_image(path, prompt="a boat", strength=0.5, seed=3).size == (32, 64)
    size: Any = {"width": 64, "height": 64}
    assert client.image_to_image(path.read_bytes(), prompt="a boat", target_size=size).size == (64, 64)
    with pytest.raises(HfHubHTTPError, match="image-to-image with limner-gan is not allowed"):
        client_of(door, "limner-gan").image_to_image(path, prompt="a boat")


def test_errors_say_what_to_change(door: str):
    with pytest.raises(HfHubHTTPError, match="allowed: 256x256, 64x64"):
        client_of(door, "limner-gan").text_to_image("a cat", width=512, height=512)
    with pytest.raises(HfHubHTTPError, match="there is no model 'none'"):
        client_of(door, "none").text_to_image("a cat")


def test_a_client_that_gives_up_does_not_cancel_its_job(door: str):
    with pytest.raises(InferenceTimeoutError):
        client_of(door, "null", timeout=0.2).text_to_image("a job whose client gave up", num_inference_steps=50)
    with Client(door) as native:
        [job] = eventually(lambda: [job for job in native.jobs().items if job.prompt == "a job whose client gave up"])
        *_, ended = native.wait(job.id)
    assert ended.status == "succeeded"


def test_a_chat_answers_by_the_door_of_openai(door: str):
    client: Any = InferenceClient(base_url=f"{door}/v1", api_key="unused")
    answer = client.chat_completion([{"role": "user", "content": "a red apple"}], model="limner-gan")
    assert "/api/v1/images/img_" in cast("str", answer.choices[0].message.content)


def test_the_guides_examples_run(
    door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    run_examples("hugging-face.md", door)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["apple.png", "boat.png"]
    assert "invalid_request width: 1000x1000 is not allowed here" in capsys.readouterr().out
