"""LoRA adapters of a folder: files that are loaded when a request names them, while the worker runs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import diffusers
import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file as load_safetensors
from tests.engine import odd_pipelines, pipelines
from tests.engine.pipeline_jobs import job_of, run

from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError, RequestUnsupported
from limner_shared.settings import Settings
from limner_shared.storage.blobs import Blobs
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.diffusers import loaded_adapters
from limner_worker.generators.diffusers.weights.adapter_loading import load_file
from limner_worker.generators.registry import load
from limner_worker.generators.weight_files import sha256
from limner_worker.stages.checkpoints import CheckpointStore
from limner_worker.stages.deduplication import deduplication_keys
from limner_worker.stages.picture_files import receipt_of

pytestmark = pytest.mark.filterwarnings("ignore:Already found a `peft_config`")  # of peft in the pipeline alone
d: Any = diffusers


def save_adapter(card: ModelCard, name: str, seed: int) -> Path:
    """Save a random adapter of the card's denoiser in its folder, as an operator adds one."""
    pipe: Any = d.DiffusionPipeline.from_pretrained(str(card.source.folder))
    cast("Any", torch).manual_seed(seed)
    pipe.unet.add_adapter(
        peft.LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_q", "to_v", "to_out.0"])
    )
    layers = d.utils.convert_state_dict_to_diffusers(cast("Any", peft).get_peft_model_state_dict(pipe.unet))
    assert card.adapter_folder is not None
    pipe.save_lora_weights(
        card.adapter_folder, unet_lora_layers=layers, weight_name=f"{name}.new", safe_serialization=True
    )
    return (card.adapter_folder / f"{name}.new").replace(card.adapter_folder / f"{name}.safetensors")


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    base = odd_pipelines.saved(pipelines.stable_diffusion, tmp_path)
    (tmp_path / "loras").mkdir()
    return odd_pipelines.card(base.source.folder or tmp_path, adapter_folder=tmp_path / "loras")


def jobs_of(card: ModelCard, *wanted: dict[str, float]) -> list[JobRun]:
    """A job for each set of adapters, by name and weight, all with one prompt and seed."""
    return [
        job_of(card, str(number), {
            "prompt": "a cat", "seed": 1, "steps": 3,
            "adapters": [{"name": name, "weight": weight} for name, weight in adapters.items()],
        })
        for number, adapters in enumerate(wanted)
    ]  # fmt: skip


def drawn(jobs: Sequence[JobRun]) -> list[np.ndarray]:
    return [np.asarray(job.rows[0].picture, dtype=int) for job in jobs]


def alone(card: ModelCard, adapters: dict[str, float]) -> np.ndarray:
    """What diffusers draws with these files of the folder."""
    pipe: Any = d.DiffusionPipeline.from_pretrained(str(card.source.folder))
    for name in adapters:
        pipe.load_lora_weights(str(card.adapter_folder), weight_name=f"{name}.safetensors", adapter_name=name)
    if adapters:
        pipe.set_adapters(list(adapters), list(adapters.values()))
    return 255 * pipe(
        "a cat", num_inference_steps=3, guidance_scale=7.5, width=32, height=32, output_type="np",
        generator=torch.Generator().manual_seed(1),
    ).images[0]  # fmt: skip


def test_a_file_that_is_added_while_the_worker_runs_is_used_as_by_the_pipeline_itself(card: ModelCard):
    generator: Any = load(card, Settings(device="cpu"))
    [before] = jobs_of(card, {})
    assert run(generator, [before]) == {}
    ink, oil = save_adapter(card, "ink", 1), save_adapter(card, "oil (v2)", 2)
    wanted: list[dict[str, float]] = [{}, {"ink": 0.8}, {"oil (v2)": 1.0}, {"ink": 0.5, "oil (v2)": -0.5}, {"ink": 0.8}]
    jobs = jobs_of(card, *wanted)
    assert run(generator, jobs) == {}
    found = drawn(jobs)
    assert np.array_equal(found[0], drawn([before])[0]), "the bytes without adapters changed"
    for picture, adapters in zip(found, wanted, strict=True):
        assert np.abs(picture - alone(card, adapters)).max() <= 1, adapters
    assert np.abs(found[1] - found[0]).max() > 3
    assert np.abs(found[2] - found[1]).max() > 3
    assert receipt_of(jobs[3].rows[0])["adapter_files"] == {"ink": sha256(ink), "oil (v2)": sha256(oil)}
    assert "adapter_files" not in receipt_of(jobs[0].rows[0])


def test_a_file_that_is_replaced_is_another_adapter(card: ModelCard):
    generator: Any = load(card, Settings(device="cpu"))
    os.utime(save_adapter(card, "ink", 1), (1, 1))
    [first] = jobs_of(card, {"ink": 1.0})
    assert run(generator, [first]) == {}
    save_adapter(card, "ink", 2)
    [second] = jobs_of(card, {"ink": 1.0})
    assert run(generator, [second]) == {}
    assert np.abs(drawn([second])[0] - alone(card, {"ink": 1.0})).max() <= 1
    assert np.abs(drawn([second])[0] - drawn([first])[0]).max() > 3


def test_a_file_of_the_same_size_and_time_is_another_adapter(card: ModelCard):
    generator: Any = load(card, Settings(device="cpu"))
    for seed in (1, 2):
        file = save_adapter(card, "ink", seed)
        os.utime(file, (1, 1))
        assert_drawn_with(generator, card, sha256(file))


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(card: ModelCard, monkeypatch: pytest.MonkeyPatch):
    generator: Any = load(card, Settings(device="cpu"))
    save_adapter(card, "ink", 1)

    def load_another(pipeline: Any, name: str, file: Path, known_as: str) -> None:
        monkeypatch.undo()
        save_adapter(card, "ink", 2)
        load_file(pipeline, name, file, known_as)

    monkeypatch.setattr(loaded_adapters, "load_file", load_another)
    assert_drawn_with(generator, card, None)


def test_a_file_is_named_by_what_is_loaded_where_a_store_does_not_show_that_it_was_replaced(
    card: ModelCard, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loaded_adapters, "MOST_LOADED", 1)

    def unchanged(_name: str, file: Path) -> tuple[Path, int, int, int, int]:
        return file, 1, 1, 1, 1

    monkeypatch.setattr(loaded_adapters, "_version", unchanged)
    generator: Any = load(card, Settings(device="cpu"))
    save_adapter(card, "other", 3)
    for seed in (1, 2):
        save_adapter(card, "ink", seed)
        assert_drawn_with(generator, card, None)
        assert run(generator, jobs_of(card, {"other": 1.0})) == {}, "this unloads ink"


def assert_drawn_with(generator: Any, card: ModelCard, digest: str | None) -> None:
    """Assert that a picture is drawn with the file that is there, and that its receipt names that one."""
    [job] = jobs_of(card, {"ink": 1.0})
    assert run(generator, [job]) == {}
    assert card.adapter_folder is not None
    there = sha256(card.adapter_folder / "ink.safetensors")
    assert receipt_of(job.rows[0])["adapter_files"] == {"ink": there}
    assert digest in (None, there)
    assert np.abs(drawn([job])[0] - alone(card, {"ink": 1.0})).max() <= 1


@pytest.mark.parametrize("header", ["of now", "of an earlier release"])
@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_checkpoint_is_continued_with_its_adapter_files_only(
    card: ModelCard, tmp_path: Path, header: str, is_replaced: bool
):
    generator: Any = load(card, Settings(device="cpu"))
    blobs = Blobs((tmp_path / "blobs").as_uri())
    store = CheckpointStore(blobs, {card.name: {}}, Supervisor(lambda _name, error: pytest.fail(str(error))))
    save_adapter(card, "ink", 1)
    [first, plain] = jobs_of(card, {"ink": 1.0}, {})
    for job in (first, plain):
        [state] = generator.start([job.rows[0].task])
        generator.step([state])
        store.store(job, 0, state.checkpoint())
        state.close()
    store.flush()
    if header == "of an earlier release":
        for job in (first, plain):
            name = f"{job.id}-0"
            about, _, rest = (blobs.load_checkpoint(name) or b"").partition(b"\n")
            known = {key: value for key, value in json.loads(about).items() if key != "adapters"}
            blobs.store_checkpoint(name, json.dumps(known).encode() + b"\n" + rest)
    if is_replaced:
        save_adapter(card, "ink", 2)
    counted, steps = generator.step, list[int]()

    def step(states: Sequence[Any]) -> None:
        steps.append(len(states))
        counted(states)

    generator.step = step
    for adapters, expected in (({"ink": 1.0}, 2 if header == "of now" and not is_replaced else 3), ({}, 2)):
        [job] = [each for each in jobs_of(card, {"ink": 1.0}, {}) if bool(each.claim.spec.adapters) == bool(adapters)]
        job.claim = replace(job.claim, attempt=2)
        store.load(job)
        steps.clear()
        assert run(generator, [job]) == {}
        assert len(steps) == expected
        assert np.abs(drawn([job])[0] - alone(card, adapters)).max() <= 1
    store.close()


def test_idle_adapters_are_unloaded_and_those_in_work_are_not(card: ModelCard, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loaded_adapters, "MOST_LOADED", 1)
    generator: Any = load(card, Settings(device="cpu"))
    for seed, name in enumerate(("a", "b", "c")):
        save_adapter(card, name, seed)
    together = jobs_of(card, {"a": 1.0}, {"b": 1.0}, {"c": 1.0}, {})
    states = generator.start([job.rows[0].task for job in together])
    assert len(generator.pipeline.get_list_adapters()["unet"]) == 3
    for state in states:
        state.close()
    del states, state
    one_by_one = jobs_of(card, {"a": 1.0}, {"b": 1.0}, {"c": 1.0}, {"a": 1.0}, {})
    for job in one_by_one:
        assert run(generator, [job]) == {}
        assert len(generator.pipeline.get_list_adapters()["unet"]) == 1
    first, _, _, again, plain = drawn(one_by_one)
    assert np.array_equal(first, again)
    assert np.abs(plain - alone(card, {})).max() <= 1


def test_loaded_files_count_in_the_models_size_until_they_are_unloaded(
    card: ModelCard, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loaded_adapters, "MOST_LOADED", 1)
    generator: Any = load(card, Settings(device="cpu"))
    alone = generator.nbytes
    weights = [load_safetensors(save_adapter(card, name, seed)) for seed, name in enumerate(("a", "b"))]
    sizes = [sum(tensor.nbytes for tensor in tensors.values()) for tensors in weights]
    assert sizes[0] > 0
    for adapters, size in (({}, 0), ({"a": 1.0}, sizes[0]), ({"a": 1.0, "b": 1.0}, sum(sizes)), ({"b": 1.0}, sizes[1])):
        [job] = jobs_of(card, adapters)
        assert run(generator, [job]) == {}
        assert generator.nbytes == alone + size, adapters
    assert load(card, Settings(device="cpu")).nbytes == alone


def test_a_file_that_cannot_be_used_fails_its_job_only_and_says_why(card: ModelCard, tmp_path: Path):
    generator: Any = load(card, Settings(device="cpu"))
    folder = card.adapter_folder
    assert folder is not None
    whole = save_adapter(card, "good", 1)
    (folder / "cut.safetensors").write_bytes(whole.read_bytes()[:-9])
    (folder / "pickle.bin").write_bytes(b"\x80\x04.")
    other = odd_pipelines.saved(pipelines.stable_diffusion_xl, tmp_path)
    save_adapter(other.model_copy(update={"adapter_folder": folder}), "other", 3)
    wanted = [{"other": 1.0}, {"cut": 1.0}, {"gone": 1.0}, {"pickle": 1.0}, {"../good": 1.0}, {}, {"good": 1.0}]
    jobs = jobs_of(card, *wanted)
    errors = run(generator, jobs)
    assert {type(error) for error in errors.values()} == {RequestUnsupported}
    said = [errors[str(number)].message for number in range(5)]
    assert "adapters: the adapter other does not fit this StableDiffusionPipeline" in said[0]
    assert "cut.safetensors is damaged or was cut off" in said[1]
    assert all("is not in the folder of adapters; there: cut, good, other" in each for each in said[2:])
    assert not any(str(tmp_path) in each for each in said), "it shows a path of the machine"
    for job, adapters in zip(jobs[5:], wanted[5:], strict=True):
        assert np.abs(drawn([job])[0] - alone(card, adapters)).max() <= 1


def test_a_pipeline_without_adapters_is_refused_with_the_folder(tmp_path: Path):
    base = odd_pipelines.saved(odd_pipelines.kandinsky_22, tmp_path)
    with pytest.raises(CardError, match="KandinskyV22CombinedPipeline takes no adapters: remove adapter_folder"):
        load(base.model_copy(update={"adapter_folder": tmp_path}), Settings(device="cpu"))


def test_pictures_with_an_adapter_of_a_folder_are_not_shared(card: ModelCard):
    """Its file may be another one by the time that an equal request comes."""
    [job] = jobs_of(card, {"ink": 1.0})
    claim = replace(job.claim, shares=True)
    assert deduplication_keys(claim, {"model": "odd"}) == ()
    assert deduplication_keys(claim, {"model": "odd", "adapters": {"ink": "ab"}})
