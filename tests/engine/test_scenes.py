"""The built-in model draws scenes: each thing is a row of the batch, and other rows change none of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from safetensors.torch import load as load_tensors

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_shared.domain.scenes import Colour, Scene, SceneObject
from limner_worker.generators.base import ImageTask, Picture, pictures_of
from limner_worker.generators.builtin.flow_state import FlowState
from limner_worker.generators.builtin.latent_flow import LatentFlow
from limner_worker.generators.builtin.scenes.colouring import SHADES, recoloured, to_oklab
from limner_worker.generators.builtin.scenes.cutouts import Cutout, cut_out
from limner_worker.generators.builtin.scenes.drawing import COMPOSITION


def task(catalogue: Catalogue, prompt: str, checkpoint: bytes | None = None, **request: Any) -> ImageTask:
    asked = {"prompt": prompt, "steps": 3, "seed": 7, "width": 64, "style": "3d"} | request
    spec = catalogue.resolve(JobRequest.model_validate(asked))[1]
    return ImageTask(spec, spec.seed, checkpoint=checkpoint)


def finished(flow: LatentFlow, tasks: list[ImageTask]) -> list[Picture]:
    states = flow.start(tasks)
    while not states[0].finished:
        flow.step(states)
    return pictures_of(flow.decode(states))


def test_a_scene_alone_and_in_a_mixed_batch_has_the_same_bytes(flow: LatentFlow, catalogue: Catalogue) -> None:
    [alone] = finished(flow, [task(catalogue, "a blue cat and two apples", reproducible=True)])
    others = ["rocket", "a green heart above a star", "a blue cat and two apples", "three dogs", "pizza"]
    together = finished(flow, [task(catalogue, each, reproducible=True) for each in others])
    assert np.array_equal(alone, together[2])
    [plain] = finished(flow, [task(catalogue, "rocket", reproducible=True)])
    assert np.array_equal(plain, together[0])


def test_the_sizes_in_the_receipt_are_enough_to_replay_a_scene(flow: LatentFlow, catalogue: Catalogue) -> None:
    first = task(catalogue, "three cats")
    pictures = finished(flow, [task(catalogue, "a dog and a cat"), first, task(catalogue, "rocket")])
    again = task(catalogue, "three cats")
    again.replay = iter(first.buckets)
    assert np.array_equal(finished(flow, [again])[0], pictures[1])
    assert len(first.buckets) == 4  # three steps and the decode
    assert [each.shape for each in first.things] == [(64, 64, 3)] * 3  # what the evaluator is asked about


@pytest.mark.parametrize("prompt", ["cat", "blue car", "a photo of a cat", "green apple"])
def test_a_prompt_for_one_thing_has_the_bytes_of_a_spec_without_scenes(
    flow: LatentFlow, catalogue: Catalogue, prompt: str
) -> None:
    now, before = task(catalogue, prompt), task(catalogue, prompt)
    before.spec = before.spec.model_copy(update={"scenes": None})
    [new], [old] = finished(flow, [now]), finished(flow, [before])
    assert np.array_equal(new, old)
    assert now.scene is None


def test_a_replay_puts_together_the_recorded_scene(flow: LatentFlow, catalogue: Catalogue) -> None:
    recorded = Scene(objects=(SceneObject(said="cat", name="cat", colour="blue"),))
    first, again = task(catalogue, "a blue cat"), task(catalogue, "words that are read in another way today")
    again.spec = again.spec.model_copy(update={"scene": recorded})
    [then], [now] = finished(flow, [first]), finished(flow, [again])
    assert again.scene == recorded
    assert np.array_equal(then, now)


def test_one_thing_in_a_place_that_is_not_understood_is_drawn_alone(flow: LatentFlow, catalogue: Catalogue) -> None:
    within = task(catalogue, "esdoornblad op een houten tafel")
    [alone] = finished(flow, [within])
    assert within.scene is not None
    assert within.scene.left_out == ("op een houten tafel",)
    [name] = finished(flow, [task(catalogue, "maple leaf")])
    assert np.abs(alone.astype(int) - name.astype(int)).mean() < 1


def test_a_scene_continues_from_its_checkpoint_and_one_begun_as_a_whole_stays_whole(
    flow: LatentFlow, catalogue: Catalogue
) -> None:
    [state] = flow.start([task(catalogue, "a red dog and a cat")])
    flow.step([state])
    stored = state.checkpoint()
    assert stored is not None
    assert not {"latents", "scene_latents"} & load_tensors(stored).keys()  # earlier releases start again
    while not state.finished:
        flow.step([state])
    [straight] = pictures_of(flow.decode([state]))
    assert np.array_equal(finished(flow, [task(catalogue, "a red dog and a cat", stored)])[0], straight)
    whole = task(catalogue, "a red dog and a cat")
    whole.spec = whole.spec.model_copy(update={"scenes": None})
    [begun] = flow.start([whole])
    flow.step([begun])
    resumed = task(catalogue, "a red dog and a cat", begun.checkpoint())
    assert flow.start([resumed])[0].rows == 1
    assert resumed.scene is None


def test_receipts_have_the_version_of_composing(flow: LatentFlow) -> None:
    assert flow.fingerprint()["composition"] == COMPOSITION


def test_a_checkpoint_of_other_things_is_refused(flow: LatentFlow, catalogue: Catalogue) -> None:
    [state] = flow.start([task(catalogue, "two dogs")])
    flow.step([state])
    with pytest.raises(ValueError, match="3 rows"):
        flow.start([task(catalogue, "three dogs", state.checkpoint())])


def test_a_checkpoint_of_another_scene_with_as_many_things_is_refused(flow: LatentFlow, catalogue: Catalogue) -> None:
    [state] = flow.start([task(catalogue, "a red dog and a cat")])
    flow.step([state])
    for reading in ("a blue dog and a cat", "a cat and a red dog", "two dogs"):
        with pytest.raises(ValueError, match="another scene"):
            flow.start([task(catalogue, reading, state.checkpoint())])


def test_previews_and_pictures_of_a_scene_have_their_sizes(flow: LatentFlow, catalogue: Catalogue) -> None:
    states: list[FlowState] = flow.start([task(catalogue, "two apples", width=256, steps=2)])
    first = flow.preview(states[0])
    flow.step(states)
    second = flow.preview(states[0])
    assert first is not None
    assert second is not None
    assert first.shape == second.shape == (64, 64, 3)
    flow.step(states)
    assert pictures_of(flow.decode(states))[0].shape == (256, 256, 3)


@pytest.mark.parametrize("colour", sorted(SHADES))
def test_a_recoloured_thing_has_the_named_colour(flow: LatentFlow, catalogue: Catalogue, colour: Colour) -> None:
    [drawing] = finished(flow, [task(catalogue, "heart", width=256, style="flat")])
    thing = cut_out(drawing)
    assert thing is not None
    lab = np.median(to_oklab(recoloured(thing, colour).colour)[thing.alpha > 0.9], axis=0)
    wanted = {
        name: (shade.lightness, *(shade.chroma * part(np.radians(shade.hue)) for part in (np.cos, np.sin)))
        for name, shade in SHADES.items()
    }
    assert min(wanted, key=lambda name: float(np.linalg.norm(lab - wanted[name]))) == colour


def test_tints_of_a_grey_thing_do_not_turn_its_new_colour() -> None:
    grey, bluish = (0.6, 0.6, 0.6), (0.44, 0.6, 0.72)
    colour = np.array([[grey if across < 40 else bluish for across in range(48)]] * 48, np.float32)
    lab = to_oklab(recoloured(Cutout(colour, np.ones((48, 48), np.float32)), "orange").colour)
    hues = np.degrees(np.arctan2(lab[..., 2], lab[..., 1]))
    assert np.abs(hues - SHADES["orange"].hue).max() < 3


def test_drawings_are_shared_among_things_up_to_the_limit() -> None:
    many = SceneObject(said="fish", name="fish", count=9)
    one = SceneObject(said="cat", name="cat")
    assert Scene(objects=(many, one)).drawings == (5, 1)
    assert Scene(objects=(one, many), most=2).drawings == (1, 1)


def test_an_earlier_spec_has_no_rule_for_scenes(catalogue: Catalogue) -> None:
    spec = task(catalogue, "two apples").spec
    assert JobSpec.model_validate(spec.model_dump(mode="json", exclude={"scenes"})).scenes is None


def test_scenes_and_single_things_share_steps_and_decode_apart(flow: LatentFlow, catalogue: Catalogue) -> None:
    small, scene = states = flow.start([task(catalogue, "rocket"), task(catalogue, "a dog and a cat")])
    while not small.finished:
        assert small.key == scene.key
        flow.step(states)
    assert small.key != scene.key
    [large] = flow.start([task(catalogue, "rocket", width=256, steps=1)])
    flow.step([large])
    assert large.key == scene.key, "both have drawings of 256 pixels"
