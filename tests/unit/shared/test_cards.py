"""Model cards: requests beyond their limits are refused, with the allowed values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.conditions import Conditions
from limner_shared.domain.jobs import (
    MAX_SEED,
    TRANSITIONS,
    JobRequest,
    JobState,
    sources,
)
from limner_shared.errors import CardError, InvalidRequest
from limner_web.intake.scheduling import retry_limit


@pytest.mark.parametrize(
    ("request_fields", "field", "allowed"),
    [
        ({"style": "oil"}, "style", "3d"),
        ({"width": 300}, "width", "256x256"),
        ({"width": 64, "height": 256}, "width", "64x64"),
        ({"size": "65x65"}, "size", "256x256, 64x64"),
        ({"size": "64x64", "width": 64}, "size", "one of the two"),
        ({"steps": 0}, "steps", "1 to 100"),
        ({"steps": 101}, "steps", "1 to 100"),
        ({"guidance": 99.0}, "guidance", "1 to 12"),
        ({"n": 17}, "n", "1 to 16"),
        ({"model": "dall-e"}, "model", "limner-flow"),
        ({"prompt": "x" * 501}, "prompt", "500"),
        ({"negative_prompt": "a hat"}, "negative_prompt", "cannot leave things out"),
        ({"guidance_rescale": 0.5}, "guidance_rescale", "this model has none"),
        ({"prompt": "a\x00b"}, "prompt", "NUL"),
        ({"metadata": {"a": "x" * 5000}}, "metadata", "4096"),
    ],
)
def test_a_value_beyond_the_cards_limits_is_refused_with_the_allowed_ones(
    catalogue: Catalogue, request_fields: dict[str, Any], field: str, allowed: str
):
    with pytest.raises(InvalidRequest) as refused:
        catalogue.resolve(JobRequest.model_validate({"prompt": "a red apple"} | request_fields))
    assert refused.value.details["field"] == field
    assert allowed in refused.value.message


def test_a_size_is_named_as_the_model_lists_it_and_is_kept_beside_a_description(catalogue: Catalogue):
    _, plain = catalogue.resolve(JobRequest(prompt="a red apple", size="64x64"))
    card, told = catalogue.resolve(JobRequest(description="a red apple, 256 by 256", size="64x64"))
    fitted = card.fit(told, Conditions(prompt="a red apple", width=256, height=256))
    assert {(spec.width, spec.height) for spec in (plain, fitted)} == {(64, 64)}


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "  "},
        {"description": " "},
        {"description": "x" * 10_001},
        {"prompt": 3},
        {"prompt": "x", "stepz": 3},
        {"prompt": "x", "seed": -1},
    ],
)
def test_a_request_of_the_wrong_shape_is_refused(fields: dict[str, Any]):
    with pytest.raises(ValidationError):
        JobRequest.model_validate(fields)


def test_omitted_fields_take_the_cards_defaults_and_a_random_seed(catalogue: Catalogue):
    spec = catalogue.resolve(JobRequest(prompt="  a red apple "))[1]
    assert (spec.prompt, spec.width, spec.height, spec.steps) == ("a red apple", 256, 256, 8)
    assert spec.seed != catalogue.resolve(JobRequest(prompt="x"))[1].seed


def test_without_a_style_neighbouring_pictures_have_different_styles_by_their_seeds(catalogue: Catalogue):
    card, spec = catalogue.resolve(JobRequest(prompt="x", n=3, seed=MAX_SEED - 7))
    assert (spec.style, spec.version) == (None, 1)
    assert {spec.style_for(spec.image_seed(index)) for index in range(3)} == set(card.styles_by_seed)
    assert spec.style_for(5) == spec.model_copy(update={"seed": 3, "n": 1}).style_for(5)


def test_a_chosen_style_and_cards_without_the_switch_give_specs_that_earlier_workers_read(catalogue: Catalogue):
    card, spec = catalogue.resolve(JobRequest(prompt="x", style="noto"))
    assert (spec.style_for(0), spec.style_for(1), spec.styles, spec.version) == ("noto", "noto", (), 1)
    plain = card.model_copy(update={"styles_by_seed": ()}).resolve(JobRequest(prompt="x"))
    assert (plain.style, plain.styles, plain.version) == (card.styles[0], (), 1)
    with pytest.raises(ValidationError, match="styles_by_seed: oil: not among the card's styles"):
        ModelCard.model_validate(card.model_dump() | {"styles_by_seed": ("oil", "3d")})
    none = card.model_copy(update={"styles": (), "styles_by_seed": ()}).resolve(JobRequest(prompt="x"))
    assert (none.style_for(0), none.version) == (None, 1)


def test_a_style_that_a_description_names_takes_precedence_over_the_seeds(catalogue: Catalogue):
    card, spec = catalogue.resolve(JobRequest(description="a flat cat", n=4))
    fitted = card.fit(spec, Conditions(prompt="a cat", style="flat"))
    assert {fitted.style_for(seed) for seed in range(4)} == {"flat"}


@given(seed=st.integers(0, MAX_SEED), index=st.integers(0, 16))
def test_image_k_of_seed_s_is_image_0_of_seed_s_plus_k(seed: int, index: int):
    catalogue = Catalogue.load([], "limner-flow")
    spec = catalogue.resolve(JobRequest(prompt="x", seed=seed))[1]
    assert 0 <= spec.image_seed(index) <= MAX_SEED
    assert spec.image_seed(index) == (seed + index) % 2**32


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name = ", "Invalid value"),
        ('name = "x"', "title"),
        ('name = "x"\nfamily = "magic"', "family"),
    ],
)
def test_a_bad_card_is_refused_with_the_file_and_the_reason(tmp_path: Path, text: str, reason: str):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(CardError) as refused:
        Catalogue.load([tmp_path], "limner-flow")
    assert "bad.toml" in refused.value.message
    assert reason in refused.value.message


def test_a_default_model_without_a_card_is_refused():
    with pytest.raises(CardError, match="limner-flow"):
        Catalogue.load([], "gone")


def test_no_state_follows_a_terminal_one_and_every_state_can_be_reached():
    reached = {target for targets in TRANSITIONS.values() for target in targets}
    assert reached == set(JobState)
    assert {state for state in JobState if state.terminal} == {
        JobState.SUCCEEDED,
        JobState.FAILED,
        JobState.CANCELED,
    }
    assert sources(JobState.SUCCEEDED) == (JobState.RUNNING,)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "prompt: it is missing. Say what the picture shows."),
        ({"prompt": "a cat", "description": "a cat"}, "one of prompt and description"),
    ],
)
def test_a_request_has_a_prompt_or_a_description(catalogue: Catalogue, fields: dict[str, Any], told: str):
    with pytest.raises(InvalidRequest, match=told):
        catalogue.resolve(JobRequest(**fields))


def test_a_description_is_its_own_prompt_until_it_is_interpreted(catalogue: Catalogue):
    card, spec = catalogue.resolve(JobRequest(description="please draw a cat " * 100, style="flat"))
    assert spec.prompt == spec.description[:499]  # it ends with a word
    assert card.max_prompt_chars == 500
    assert spec.given == ("style",)


def test_conditions_apply_within_the_cards_limits_to_fields_that_the_client_did_not_set(catalogue: Catalogue):
    card, spec = catalogue.resolve(JobRequest(description="cats", style="flat", seed=3))
    wild = Conditions(prompt="a cat\0" * 200, style="3d", width=64, height=64, n=900, seed=5)
    fitted = card.fit(spec, wild)
    assert (fitted.style, fitted.seed, fitted.n, fitted.width) == ("flat", 3, card.max_images, 64)
    assert fitted.prompt == ("a cat " * 200)[:499]
    assert "\0" not in fitted.prompt
    odd = card.fit(spec, Conditions(prompt="a cat", style="cubist", width=77, height=3))
    assert (odd.style, odd.width, odd.height, odd.n) == ("flat", spec.width, spec.height, 1)


def test_a_model_without_guidance_refuses_a_negative_prompt_and_ignores_an_interpreted_one(catalogue: Catalogue):
    with pytest.raises(InvalidRequest, match="no guidance"):
        catalogue.resolve(JobRequest(prompt="a cat", negative_prompt="hat", model="limner-gan"))
    card, spec = catalogue.resolve(JobRequest(description="a cat without a hat", model="limner-gan"))
    assert card.fit(spec, Conditions(prompt="a cat", negative_prompt="hat")).negative_prompt == ""


def test_a_model_without_negative_prompts_refuses_one_and_records_an_interpreted_one_as_dropped(catalogue: Catalogue):
    with pytest.raises(InvalidRequest, match="limner-flow cannot leave things out") as refused:
        catalogue.resolve(JobRequest(prompt="a cat", negative_prompt="hat"))
    assert (refused.value.code, refused.value.status) == ("negative_prompt_unsupported", 422)
    card, spec = catalogue.resolve(JobRequest(description="a cat without a hat"))
    fitted = card.fit(spec, Conditions(prompt="a cat", negative_prompt="hat"))
    assert (fitted.negative_prompt, fitted.dropped_negative) == ("", "hat")
    other = card.model_copy(update={"negative_prompts": True})
    assert other.resolve(JobRequest(prompt="a cat", negative_prompt="hat")).negative_prompt == "hat"
    fitted = other.fit(spec, Conditions(prompt="a cat", negative_prompt="hat"))
    assert (fitted.negative_prompt, fitted.dropped_negative) == ("hat", "")


def test_blank_prompts_and_nul_characters_are_refused():
    for blank in (" ", "\0", " \0 "):
        with pytest.raises(ValidationError):
            Conditions(prompt=blank)
        with pytest.raises(ValidationError):
            JobRequest(description=blank)
    assert Conditions(prompt=" a\0cat ", style=" flat ").model_dump(exclude_defaults=True) == {
        "prompt": "a cat",
        "style": "flat",
    }


def image_card(**more: Any):
    about = {
        "name": "painter",
        "title": "Painter",
        "family": "diffusers",
        "source": {"folder": "nowhere"},
        "sizes": [(64, 64)],
        "steps": {"min": 1, "max": 50, "default": 4},
        "guidance": {"min": 0, "max": 20, "default": 5},
        "tasks": ["text-to-image", "image-to-image"],
    }
    return ModelCard.model_validate(about | more)


def test_a_strength_that_leaves_no_step_is_refused_and_the_default_is_the_documented_one():
    card = image_card()
    for fields in ({"strength": 0.2}, {"strength": 0.05, "steps": 19}, {"steps": 1}):
        with pytest.raises(InvalidRequest, match="steps of at least 1") as refused:
            card.resolve(JobRequest.model_validate({"prompt": "a", "image": "0" * 64} | fields))
        assert refused.value.details["field"] == "strength"
    assert card.resolve(JobRequest(prompt="a", image="0" * 64)).strength == 0.8
    assert "0.8" in (JobRequest.model_fields["strength"].description or "")
    assert card.resolve(JobRequest(prompt="a")).strength is None


@pytest.mark.parametrize(
    ("card", "request_fields", "why"),
    [
        ({"family": "null"}, {"mask": "1"}, "none: this model has none"),
        ({}, {}, "only with mask"),
    ],
)
def test_a_padding_of_the_mask_is_refused_where_nothing_would_follow_it(
    card: dict[str, Any], request_fields: dict[str, Any], why: str
):
    about, given = image_card(tasks=["image-to-image", "inpainting"], **card), {"prompt": "a", "image": "0"}
    with pytest.raises(InvalidRequest, match=why) as refused:
        about.resolve(JobRequest.model_validate(given | request_fields | {"padding_mask_crop": 8}))
    assert refused.value.details["field"] == "padding_mask_crop"


def test_only_jobs_with_a_padding_of_the_mask_are_left_to_workers_that_know_it():
    card = image_card(tasks=["inpainting"])
    masked = {"prompt": "a", "image": "0", "mask": "1"}
    padded = card.resolve(JobRequest.model_validate(masked | {"padding_mask_crop": 0}))
    assert (padded.version, padded.padding_mask_crop) == (3, 0)
    assert card.resolve(JobRequest.model_validate(masked)).version == 1


CONTROLLED: Any = {"control": {"scale": {"min": 0, "max": 1.5, "default": 0.8}}}


@pytest.mark.parametrize(
    ("card", "request_fields", "field", "why"),
    [
        ({}, {"control_image": "0"}, "control_image", "this model follows no control picture"),
        ({}, {"control_scale": 0.5}, "control_scale", "this model follows no control picture"),
        (CONTROLLED, {}, "control_image", "painter without a control picture"),
        (CONTROLLED, {"control_image": "0", "control_scale": 2}, "control_scale", "0 to 1.5"),
        (CONTROLLED, {"control_image": "0", "control_start": 1}, "control_end", "1 after a control_start of 1"),
        (CONTROLLED, {"control_image": "0", "control_start": 0.5, "control_end": 0.5}, "control_end", "more than"),
        ({"control": {"interval": False}}, {"control_image": "0", "control_end": 0.5}, "control_end", "all steps"),
    ],
)
def test_a_control_picture_is_given_to_models_that_follow_one_within_the_cards_limits(
    card: dict[str, Any], request_fields: dict[str, Any], field: str, why: str
):
    with pytest.raises(InvalidRequest, match=why) as refused:
        image_card(**card).resolve(JobRequest.model_validate({"prompt": "a"} | request_fields))
    assert refused.value.details["field"] == field


def test_only_jobs_with_a_control_picture_are_left_to_workers_that_know_it():
    """An earlier worker ignores the fields, and would draw without the picture."""
    followed = image_card(**CONTROLLED).resolve(JobRequest(prompt="a", control_image="0", control_end=0.5))
    assert (followed.version, followed.control_scale, followed.control_start, followed.control_end) == (3, 0.8, 0, 0.5)
    assert image_card().resolve(JobRequest(prompt="a")).version == 1
    assert image_card(**CONTROLLED).resolve(JobRequest(description="a", control_image="0")).given == ("width", "height")


def test_a_diffusers_card_with_sizes_not_divisible_by_8_is_refused(tmp_path: Path):
    with pytest.raises(ValidationError, match=r"100x64.*multiples of 8"):
        image_card(sizes=[(64, 64), (100, 64)])
    assert image_card(family="null", sizes=[(100, 64)]).sizes == ((100, 64),)


def test_a_card_is_refused_for_what_its_refiner_would_not_follow(tmp_path: Path):
    refiner = {"refiner": {"source": {"folder": "refiner"}}}
    with pytest.raises(ValidationError, match="refiner: leave out offload, tasks, which a refiner does not follow"):
        image_card(offload="model", **refiner)
    with pytest.raises(ValidationError, match="refiner: only pipelines of diffusers have one"):
        image_card(family="null", tasks=["text-to-image"], **refiner)
    assert image_card(tasks=["text-to-image"], **refiner).refiner.switch_at == 0.8


def test_a_card_has_a_default_and_a_limit_of_retries(catalogue: Catalogue):
    card = catalogue.get("limner-flow")
    assert (card.max_retries.default, card.max_retries.max) == (5, 20)
    own = ModelCard.model_validate(card.model_dump() | {"max_retries": {"min": 0, "max": 2, "default": 1}})
    assert [retry_limit(own, JobRequest(prompt="x", max_retries=asked)) for asked in (None, 2)] == [1, 2]
    with pytest.raises(InvalidRequest, match="0 to 2"):
        retry_limit(own, JobRequest(prompt="x", max_retries=3))


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"steps": {"min": 1, "max": 10**9, "default": 4}}, "steps"),
        ({"steps": {"min": 0, "max": 9, "default": 4}}, "steps"),
        ({"guidance": {"min": 0, "max": float("inf"), "default": 4}}, "guidance"),
        ({"sizes": [(10**6, 64)]}, "sizes"),
        ({"sizes": [(0, 64)]}, "sizes"),
        ({"buckets": (1, 10**9)}, "buckets"),
        ({"buckets": ()}, "buckets"),
        ({"text_batch": 10**9}, "text_batch"),
    ],
)
def test_a_card_with_absurd_limits_is_refused_with_the_field(catalogue: Catalogue, limits: dict[str, Any], field: str):
    sound = next(iter(catalogue.cards.values())).model_dump()
    ModelCard.model_validate(sound)
    with pytest.raises(ValidationError) as refusal:
        ModelCard.model_validate(sound | limits)
    assert {error["loc"][0] for error in refusal.value.errors()} == {field}


def test_a_prompt_that_is_longer_than_a_card_allows_ends_with_a_word(catalogue: Catalogue) -> None:
    card, spec = catalogue.resolve(JobRequest(description="a cat with " + "stripes " * 100))
    fitted = card.fit(spec, Conditions(prompt="a cat with " + "stripes " * 100))
    assert spec.prompt.endswith(" stripes")
    assert fitted.prompt.endswith(" stripes")
    assert len(fitted.prompt) <= card.max_prompt_chars
    assert fitted.beyond is not None
