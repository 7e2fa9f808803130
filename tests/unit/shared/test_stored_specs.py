"""Specs in the rows of jobs: what is stored of them, and what is read."""

from __future__ import annotations

import pytest

from limner_shared.domain.inputs import Adapter
from limner_shared.domain.jobs import JobSpec

PLAIN = JobSpec(model="m", prompt="a cat", seed=5, steps=4, guidance=1.0, width=8, height=8)
ABSENT = JobSpec(**PLAIN.stored())


def test_optional_fields_with_their_default_are_not_stored():
    assert PLAIN.stored() == {
        "version": 1,
        "prompt": "a cat",
        "negative_prompt": "",
        "model": "m",
        "style": None,
        "width": 8,
        "height": 8,
        "steps": 4,
        "guidance": 1.0,
        "seed": 5,
        "n": 1,
    }


def test_defaults_that_rows_rely_on_have_not_changed():
    """A row without a field means this value, whichever release wrote it."""
    assert ABSENT.model_dump(mode="json", exclude=set(PLAIN.stored())) == {
        "styles": [],
        "guidance_rescale": 0.0,
        "dropped_negative": "",
        "beyond": None,
        "nearest_name": None,
        "scenes": None,
        "scene": None,
        "plain_words": False,
        "scheduler": None,
        "adapters": [],
        "image": None,
        "mask": None,
        "padding_mask_crop": None,
        "strength": None,
        "control_image": None,
        "control_scale": None,
        "control_start": 0.0,
        "control_end": 1.0,
        "reference_images": [],
        "reference_scale": 0.0,
        "reproducible": False,
        "provenance": False,
        "description": None,
        "history": [],
        "languages": [],
        "given": [],
        "replay": [],
        "replay_places": [],
        "candidates": 1,
        "seeds": [],
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"styles": ("flat", "oil")},
        {"guidance_rescale": 0.5},
        {"adapters": (Adapter(name="ink", weight=0.5),)},
        {"image": "ab" * 32, "mask": "cd" * 32, "strength": 0.0},
        {"version": 3, "image": "ab" * 32, "mask": "cd" * 32, "padding_mask_crop": 0},
        {"version": 3, "control_image": "ef" * 32, "control_scale": 0.5, "control_start": 0.25, "control_end": 0.75},
        {"version": 3, "reference_images": ("ef" * 32, "ab" * 32), "reference_scale": 0.5},
        {"reproducible": True, "provenance": True},
        {"replay": ((1, 2), (3,)), "seeds": (5, 9)},
        {"candidates": 4},
        {"description": "", "given": ("seed",)},
    ],
)
def test_a_stored_spec_is_read_as_it_was(changes: dict[str, object]):
    spec = PLAIN.model_copy(update=changes)
    assert JobSpec.read(spec.stored()) == spec
