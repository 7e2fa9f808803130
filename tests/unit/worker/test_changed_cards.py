"""Jobs that wait while their model's card changes: what the new card would ignore of them is refused."""

from __future__ import annotations

from typing import Any

import pytest

from limner_shared.db.ledger import Claim
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobRequest, Lane
from limner_worker.stages.refusals import CardChanges

PICTURE = "0" * 64
CARD: dict[str, Any] = {
    "name": "tiny",
    "title": "Tiny",
    "family": "diffusers",
    "source": {"folder": "tiny"},
    "sizes": [(32, 32)],
    "steps": {"min": 1, "max": 50, "default": 4},
    "guidance": {"min": 0, "max": 20, "default": 7.5},
    "tasks": ["text-to-image", "image-to-image", "inpainting"],
    "schedulers": ["DDIMScheduler"],
    "adapters": {"ink": {"folder": "ink"}},
    "reference": {"adapter": {"folder": "ip"}, "most": 2},
    "prompt_weights": True,
}
CONTROLLED: dict[str, Any] = CARD | {"control": {}}


def refusal(before: dict[str, Any], after: dict[str, Any], **request: Any) -> str | None:
    spec = ModelCard.model_validate(before).resolve(JobRequest.model_validate({"prompt": "a cat"} | request))
    claim = Claim("job", "tenant", None, 1, 2, Lane.NORMAL, spec)
    error = CardChanges({"tiny": ModelCard.model_validate(after)}).refuse(claim)
    return None if error is None else error.message.partition(":")[0]


@pytest.mark.parametrize(
    ("change", "request_", "field"),
    [
        ({"tasks": ["text-to-image"]}, {"image": PICTURE}, "image"),
        ({"tasks": ["text-to-image", "image-to-image"]}, {"image": PICTURE, "mask": PICTURE}, "mask"),
        ({"tasks": ["image-to-image"]}, {}, "image"),
        ({"control": {}}, {}, "control_image"),
        ({"reference": None}, {"reference_images": [PICTURE]}, "reference_images"),
        ({"reference": {"most": 1}}, {"reference_images": [PICTURE, PICTURE]}, "reference_images"),
        ({"schedulers": []}, {"scheduler": "DDIMScheduler"}, "scheduler"),
        ({"adapters": {}}, {"adapters": [{"name": "ink"}]}, "adapters"),
        ({"negative_prompts": False}, {"negative_prompt": "rain"}, "negative_prompt"),
        ({"prompt_weights": False}, {"prompt": "a (red:1.4) cat"}, "prompt"),
        ({"guidance": {"min": 1, "max": 1, "default": 1}}, {}, "guidance"),
    ],
)
def test_a_job_of_which_the_changed_card_would_ignore_a_part_is_refused(
    change: dict[str, Any], request_: dict[str, Any], field: str
) -> None:
    assert refusal(CARD, CARD, **request_) is None
    assert refusal(CARD, CARD | change, **request_) == field


def test_a_control_picture_is_refused_by_a_card_without_a_control_network() -> None:
    assert refusal(CONTROLLED, CONTROLLED, control_image=PICTURE) is None
    assert refusal(CONTROLLED, CARD, control_image=PICTURE) == "control_image"


def test_words_whose_weights_are_left_out_may_be_drawn_by_any_card() -> None:
    plain = CARD | {"prompt_weights": False}
    assert refusal(plain, plain, prompt="a (red:1.4) cat", reference_images=[PICTURE]) is None


def test_other_limits_and_adapters_of_a_folder_do_not_matter() -> None:
    smaller = CARD | {"steps": {"min": 1, "max": 2, "default": 2}, "adapters": {}, "adapter_folder": "loras"}
    assert refusal(CARD, smaller, steps=50, adapters=[{"name": "ink"}]) is None
