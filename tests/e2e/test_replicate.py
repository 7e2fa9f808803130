"""The official client of Replicate, unmodified, against a real service."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import replicate
from PIL import Image
from replicate.exceptions import ReplicateError
from replicate.helpers import FileOutput

from tests.e2e.guides import run_examples
from tests.e2e.running import apart

SMALL = {"width": 64, "height": 64}
GAN = "limner/limner-gan"
UNUSED = "unused on loopback"


@pytest.fixture
def make_client(door: str) -> Iterator[Callable[..., replicate.Client]]:
    """Makes clients, and closes their connections at the end, which the client itself never does."""
    made: list[replicate.Client] = []

    def make(**more: Any) -> replicate.Client:
        made.append(replicate.Client(api_token=UNUSED, base_url=f"{door}/replicate", **more))
        made[-1].poll_interval = 0.05
        return made[-1]

    yield make
    for client in made:
        client._client.close()


@pytest.fixture
def client(make_client: Callable[..., replicate.Client]) -> replicate.Client:
    return make_client()


def test_a_run_returns_files_for_a_model_and_for_a_version(client: replicate.Client):
    version: str = cast("Any", client.models.get(GAN)).latest_version.id
    ways: list[tuple[str, dict[str, Any]]] = [(GAN, {}), (f"{GAN}:{version}", {}), (GAN, {"wait": False})]
    drawn: list[Any] = [
        client.run(reference, input={"prompt": "a red apple", "seed": 7, **SMALL}, **more) for reference, more in ways
    ]
    assert all(isinstance(files[0], FileOutput) and len(files) == 1 for files in drawn)
    pictures = {files[0].read() for files in drawn}
    assert len(pictures) == 1
    with Image.open(io.BytesIO(pictures.pop())) as picture:
        assert picture.size == (64, 64)


def test_a_run_that_takes_longer_than_the_wait_is_polled(client: replicate.Client):
    files: Any = client.run("limner/null", input={"prompt": "x", "num_inference_steps": 70}, wait=1)
    assert len(files) == 1


def test_the_asynchronous_client_runs_several_at_once(client: replicate.Client):
    async def run() -> list[object]:
        calls = (client.async_run(GAN, input={"prompt": f"a cat {each}", **SMALL}) for each in range(3))
        try:
            return await asyncio.gather(*calls)
        finally:
            await client._async_client.aclose()

    assert len(apart(asyncio.run, run())) == 3


def test_a_prediction_is_created_waited_for_listed_and_reloaded(client: replicate.Client):
    prediction = client.predictions.create(model=GAN, input={"prompt": "a fox", "seed": 3, **SMALL})
    assert prediction.status in ("starting", "processing", "succeeded")
    prediction.wait()
    assert (prediction.status, prediction.model, prediction.input["seed"]) == ("succeeded", GAN, 3)
    assert prediction.progress.percentage == 1
    assert prediction.metrics["predict_time"] >= 0
    assert client.predictions.get(prediction.id).output == prediction.output
    assert prediction.id in [listed.id for listed in client.predictions.list()]


def test_a_model_and_version_built_into_a_program_lead_to_a_model_here(client: replicate.Client):
    [output] = client.run("stability-ai/sdxl:39ed52f2a78e", input={"prompt": "a rocket", **SMALL})
    assert Image.open(io.BytesIO(output.read())).size == (64, 64)


def test_a_prediction_is_canceled(client: replicate.Client):
    inputs = {"prompt": "a slow cat", "num_inference_steps": 100, "num_outputs": 16}
    prediction = client.predictions.create(model="limner/limner-flow", input=inputs)
    prediction.cancel()
    assert prediction.status == "canceled"


def test_a_stream_has_logs_outputs_and_an_end(client: replicate.Client):
    events = list(client.stream(GAN, input={"prompt": "a rocket", "num_outputs": 2, **SMALL}))
    names = [event.event.name for event in events]
    assert (names.count("OUTPUT"), names[-1]) == (2, "DONE")
    assert "LOGS" in names
    prediction = client.predictions.create(model=GAN, input={"prompt": "a rocket", **SMALL})
    assert [event.event.name for event in prediction.stream()][-1] == "DONE"


def test_models_versions_and_deployments_are_readable(client: replicate.Client):
    names = ("limner-flow", "limner-gan", "null", "canvas")
    assert {f"limner/{name}" for name in names} <= {model.id for model in client.models.list()}
    [version] = client.models.get("limner/limner-flow").versions.list()
    schema: dict[str, Any] = cast("Any", version).openapi_schema["components"]["schemas"]["Input"]["properties"]
    assert schema["num_inference_steps"] | {"maximum": 100, "default": 8} == schema["num_inference_steps"]
    assert "negative_prompt" not in schema
    deployment = client.deployments.get(GAN)
    assert cast("Any", deployment).current_release.model == GAN
    prediction = deployment.predictions.create(input={"prompt": "a cat", **SMALL})
    prediction.wait()
    assert prediction.status == "succeeded"
    assert GAN in [each.id for each in client.deployments.list()]


def test_the_account_the_hardware_and_collections_are_readable_and_models_are_searched(client: replicate.Client):
    calls: Any = client
    assert calls.accounts.current().type == "organization"
    [hardware] = calls.hardware.list()
    assert hardware.sku == calls.deployments.get(GAN).current_release.configuration.hardware
    assert "text-to-image" in [each.slug for each in calls.collections.list()]
    assert {GAN, "limner/limner-flow"} <= {model.id for model in calls.collections.get("text-to-image")}
    assert "limner/canvas" in [model.id for model in calls.collections.get("inpainting")]
    assert [model.id for model in calls.models.search("Tenth of the time")] == [GAN]
    assert list(calls.models.search("a model of another service")) == []
    assert list(calls.trainings.list()) == []


def test_a_call_that_this_service_has_not_is_named(client: replicate.Client):
    calls: Any = client
    version = calls.models.get(GAN).latest_version.id
    wanted = {"model": GAN, "version": version, "hardware": "cpu", "min_instances": 0, "max_instances": 1}
    refused: list[tuple[int, Callable[[], Any]]] = [
        (405, lambda: calls.models.create(owner="me", name="mine", visibility="private", hardware="cpu")),
        (405, lambda: calls.models.delete(GAN)),
        (405, lambda: calls.models.get(GAN).versions.delete(version)),
        (405, lambda: calls.deployments.create(name="mine", **wanted)),
        (405, lambda: calls.deployments.update("limner", "limner-gan", min_instances=1)),
        (405, lambda: calls.deployments.delete("limner", "limner-gan")),
        (404, lambda: calls.trainings.create(version=f"{GAN}:{version}", input={}, destination="me/mine")),
        (404, lambda: calls.trainings.get("mine")),
        (404, lambda: calls.trainings.cancel("mine")),
        (404, lambda: calls.collections.get("none")),
        (413, lambda: calls.models.search("x" * 2_000)),
    ]
    for status, call in refused:
        with pytest.raises(ReplicateError) as caught:
            call()
        assert (caught.value.status, caught.value.type[:11], bool(caught.value.detail)) == (status, "urn:limner:", True)


def test_a_file_is_an_input_as_upload_data_url_and_own_picture(
    client: replicate.Client, make_client: Callable[..., replicate.Client], tmp_path: Path
):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "start.png")
    settings = {"prompt": "x", "prompt_strength": 0.5}
    for strategy in ("url", "base64"):
        inputs = settings | {"image": tmp_path / "start.png"}
        prediction = client.predictions.create("limner/null", inputs, file_encoding_strategy=strategy, wait=30)
        assert prediction.status == "succeeded"
    by_address = make_client(headers={"X-Output-Files": "url"})
    [address] = by_address.run("limner/null", input=settings | {"image": prediction.output[0]})
    assert address.startswith("http://")
    assert client.run("limner/null", input=settings | {"image": address})


def test_files_are_stored_listed_and_deleted(client: replicate.Client):
    file = client.files.create(io.BytesIO(b"anything"), filename="x.bin", metadata={"a": 1})
    assert (client.files.get(file.id).size, file.metadata) == (8, {"a": 1})
    assert file.id in [each.id for each in client.files.list()]
    assert client.files.delete(file.id)
    with pytest.raises(ReplicateError) as missing:
        client.files.get(file.id)
    assert missing.value.status == 404


def test_errors_are_the_clients_with_our_sentence(client: replicate.Client):
    with pytest.raises(ReplicateError) as refused:
        client.run(GAN, input={"prompt": "a cat", "width": 512})
    assert (refused.value.status, refused.value.type) == (422, "urn:limner:invalid_request")
    assert "256x256, 64x64" in refused.value.detail


def test_the_guides_examples_run(
    door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    for name in ("REPLICATE_BASE_URL", "REPLICATE_API_UNUSED"):
        monkeypatch.setenv(name, "set by the guide")
    names = run_examples("replicate.md", door)
    for client in (replicate.default_client, names["client"]):
        client._client.close()
    said = capsys.readouterr().out
    assert "succeeded 1.0 data:image/png;base64," in said
    assert "DONE" in said
    assert "http://" in said
    assert "/images/" in said
    assert sorted(file.name for file in tmp_path.iterdir()) == ["apple-0.png", "apple-1.png"]
