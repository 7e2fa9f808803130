"""An image whose own code runs out of memory beside others starts again once fewer of them are in work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.engine.pipeline_jobs import card_of, folder, job_of, reference, run
from tests.engine.scripted import Scripted, engine, job
from tests.processes import eventually

from limner_shared.domain.catalogue import Catalogue
from limner_shared.settings import Settings
from limner_worker.engine import memory_waits
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.registry import load

__all__ = ["engine", "folder"]
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
WAITS = "large"


class Device:
    """Lets images of the prompt `large` run out of memory in their own code while too many others are in work."""

    def __init__(self, generator: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
        self.generator = generator
        self.room = 0
        """Beside how many others a large image fits."""
        self.at_step = 0
        self.failures = 0
        self.checkpoints: list[bytes | None] = []
        """Those that large images were started with."""
        start, step = generator.start, generator.step

        def started(tasks: Sequence[Any]) -> list[Any]:
            self.checkpoints += [task.checkpoint for task in tasks if task.spec.prompt == WAITS]
            states = start(tasks)
            self.check(states)
            return states

        def stepped(states: Sequence[Any]) -> None:
            step(states)
            self.check(states)

        monkeypatch.setattr(generator, "start", started)
        monkeypatch.setattr(generator, "step", stepped)

    def check(self, states: Sequence[Any]) -> None:
        others = sum(not state.closed for state in self.generator.states) - 1
        for state in states:
            if state.prompt == WAITS and state.steps_done == self.at_step and others > self.room:
                state.error = FULL
                self.failures += 1


@pytest.fixture
def device(engine: Any, monkeypatch: pytest.MonkeyPatch) -> Device:
    return Device(engine[1], monkeypatch)


@pytest.mark.parametrize("at_step", [0, 2])
@pytest.mark.parametrize("room", [0, 2])
def test_it_waits_until_half_as_many_others_are_in_work(
    engine: Any, catalogue: Catalogue, device: Device, at_step: int, room: int
) -> None:
    running, generator, heard = engine
    device.at_step, device.room = at_step, room
    running.submit([*(job(catalogue, f"{n}", steps=4 + n) for n in range(4)), job(catalogue, "late", WAITS)])
    assert heard.wait(5) == dict.fromkeys(["0", "1", "2", "3", "late"], "generated")
    assert device.failures in ((1,) if room else (2, 3)), "beside four; and if it only fits alone, beside two or one"
    eventually(lambda: all(state.closed for state in generator.states))


def test_images_that_only_fit_alone_are_drawn_one_after_the_other(
    engine: Any, catalogue: Catalogue, device: Device
) -> None:
    running, _, heard = engine
    running.submit([job(catalogue, "several", WAITS, n=3), job(catalogue, "one", WAITS)])
    assert heard.wait(2) == {"several": "generated", "one": "generated"}


def test_an_image_that_does_not_fit_alone_fails_with_the_size_that_would(
    engine: Any, catalogue: Catalogue, device: Device
) -> None:
    running, _, heard = engine
    device.room = -1
    running.submit([job(catalogue, "small", steps=9), job(catalogue, "never", WAITS)])
    done = heard.wait(2)
    assert done["small"] == "generated"
    assert "256×256 does not fit into the device's memory even alone" in done["never"]
    assert device.failures == 2


def test_after_a_while_no_other_image_is_started_before_it(
    engine: Any, catalogue: Catalogue, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, generator, heard = engine
    monkeypatch.setattr(memory_waits, "LONGEST_WAIT_SECONDS", 0.0)
    generator.gated = True
    running.submit([job(catalogue, "first", steps=20), job(catalogue, "late", WAITS)])
    eventually(lambda: device.failures == 1)
    running.submit([job(catalogue, "next", steps=20)])
    generator.gate.release(1000)
    assert list(heard.wait(3)) == ["first", "late", "next"]
    assert max(generator.batches[:20]) == 1, "the next job was started before"


def test_an_aborted_image_waits_no_longer(engine: Any, catalogue: Catalogue, device: Device) -> None:
    running, generator, heard = engine
    generator.gated = True
    dropped = job(catalogue, "dropped", WAITS)
    running.submit([job(catalogue, "first", steps=20), dropped])
    eventually(lambda: device.failures == 1)
    running.abort([dropped])
    generator.gate.release(1000)
    assert heard.wait(1) == {"first": "generated"}
    running.submit([job(catalogue, "later")])
    assert heard.wait(2)["later"] == "generated"
    assert device.checkpoints == [None], "it was started again"


def test_it_keeps_the_checkpoint_of_an_earlier_attempt(engine: Any, catalogue: Catalogue, device: Device) -> None:
    running, _, heard = engine
    resumed = job(catalogue, "resumed", WAITS)
    resumed.rows[0].task.checkpoint, resumed.rows[0].task.buckets = b"step 1", [8, 8]
    running.submit([job(catalogue, "first", steps=20), resumed])
    assert set(heard.wait(2).values()) == {"generated"}
    assert device.checkpoints == [b"step 1", b"step 1"]
    assert resumed.rows[0].task.buckets == [8, 8]


def test_an_input_picture_that_cannot_be_encoded_beside_others_is_encoded_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = card_of("stable_diffusion", folder)
    generator: Any = load(card, Settings(device="cpu"))
    requests = [{"prompt": "a cat", "seed": seed, "steps": 4 + seed} for seed in range(3)]
    jobs: list[JobRun] = [job_of(card, f"{n}", request) for n, request in enumerate(requests)]
    jobs.append(job_of(card, "late", {"prompt": "a dog", "seed": 9, "steps": 4, "task": "image-to-image"}))
    encode, failures = generator.pipeline.vae.encode, list[int]()

    def of_few(*args: Any, **kwargs: Any) -> Any:
        others = sum(row.state is not None for each in jobs for row in each.rows)
        if others > 1:
            failures.append(others)
            raise FULL
        return encode(*args, **kwargs)

    monkeypatch.setattr(generator.pipeline.vae, "encode", of_few)
    assert run(generator, jobs) == {}
    assert failures
    for each in jobs:
        assert np.abs(each.rows[0].picture - reference(card, each) * 255).max() <= 1, each.id
