"""Weights in prompts are read where they stand, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner_shared.domain import cards
from limner_shared.domain.card_fields import Range
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.conditions import Conditions
from limner_shared.domain.jobs import SPEC_VERSION, JobRequest, JobSpec
from limner_shared.domain.prompt_weights import MOST, follows_weights, has_weights, in_drawn_words, parts, plain
from limner_shared.errors import InvalidRequest


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a (red:1.3) apple", [("a ", 1), ("red", 1.3), (" apple", 1)]),
        ("(red apple:0.5)", [("red apple", 0.5)]),
        ("((red:1.2) apple:1.5)", [("red", 1.8), (" apple", 1.5)]),
        ("(a cat (tabby):1.2)", [("a cat (tabby)", 1.2)]),
        ("(rot: 1.1 ) und (blau :.5)", [("rot", 1.1), (" und ", 1), ("blau ", 0.5)]),
        ("(🦊:2)", [("🦊", 2)]),
        ("(版画:1.4)", [("版画", 1.4)]),
    ],
)
def test_weights_are_read_with_the_words_that_they_are_for(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert [(part.text, round(part.weight, 6)) for part in parts(prompt)] == expected
    assert has_weights(prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "a:" + "1" * 200_000,
        "(" * 50_000 + "a" + ":1" * 50_000,
        "(" * 30_000 + "a (b:1.1) " * 30_000 + ":1.1)" * 30_000,
        "(1" * 30_000 + "(b:1.1)" + ":1.1)" * 30_000,
        "(" * 30_000 + "1" + ":1)2" * 30_000,
        "(" * 30_000 + "a" + ":11)" * 30_000,
    ],
)
def test_a_long_text_of_marks_is_read_in_a_time_that_grows_with_its_length(prompt: str) -> None:
    assert plain(prompt).count("a") == prompt.count("a")  # the test's time limit ends it otherwise


@pytest.mark.parametrize(
    "prompt",
    [
        *("", "a cat", "a cat (tabby)", "((masterpiece))", "a screen (16:9)", "(at 10:30)", "a map (scale 1:2)"),
        *("(:1.3)", "(red:)", "(red:fast)", "red:1.3)", "(red", ")(", "(red:99)", "Psalm (23:4)", "(red:1.3.2)"),
    ],
)
def test_what_is_no_weight_stays_as_it_is_written(prompt: str) -> None:
    assert plain(prompt) == prompt
    assert not has_weights(prompt)


@given(st.text(alphabet="ab (:1.)", max_size=40))
def test_reading_keeps_every_word_in_order_and_is_done_at_once(prompt: str) -> None:
    letters = [each for each in prompt if each in "ab"]
    assert [each for each in plain(prompt) if each in "ab"] == letters
    assert all(part.text for part in parts(prompt))


def test_a_long_prompt_of_open_parentheses_is_read_in_no_time() -> None:
    assert plain("(a" * 10_000) == "(a" * 10_000
    [part] = parts("(" * 2_000 + "a" + ":9)" * 2_000)
    assert part == ("a", MOST)


def test_a_model_that_cannot_weigh_words_draws_them_plainly_and_keeps_the_prompt(catalogue: Catalogue) -> None:
    _, spec = catalogue.resolve(JobRequest(prompt="a (red:1.3) apple", seed=1))
    assert (spec.version, spec.prompt, spec.plain_words) == (SPEC_VERSION, "a (red:1.3) apple", True)
    assert JobSpec(**spec.stored()) == spec
    assert in_drawn_words(spec).prompt == "a red apple"


def test_jobs_without_weights_and_those_of_earlier_releases_are_drawn_as_they_are(catalogue: Catalogue) -> None:
    _, spec = catalogue.resolve(JobRequest(prompt="a cat (tabby)", seed=1))
    assert (spec.version, in_drawn_words(spec)) == (1, spec)
    earlier = spec.model_copy(update={"prompt": "a (red:1.3) apple"})
    assert in_drawn_words(earlier).prompt == "a (red:1.3) apple"
    assert not follows_weights(earlier)


def test_a_text_beyond_its_limit_is_refused_before_its_weights_are_read(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def note(*texts: str) -> bool:
        read.extend(texts)
        return False

    monkeypatch.setattr(cards, "has_weights", note)
    card = catalogue.get(None).model_copy(update={"negative_prompts": True, "guidance": Range(min=0, max=9, default=4)})
    for field in ("prompt", "negative_prompt"):
        request = {"prompt": "a cat", field: "(" * 15_000}
        with pytest.raises(InvalidRequest, match=f"{field}: 15000 characters"):
            card.resolve(JobRequest.model_validate(request))
    assert read == []


def test_weights_that_a_description_asks_for_are_followed_or_left_out_like_those_of_a_prompt(
    catalogue: Catalogue,
) -> None:
    card, spec = catalogue.resolve(JobRequest(description="draw a (red:1.3) apple", seed=1))
    found = Conditions(prompt="a (red:1.3) apple", negative_prompt="(worms:1.2)")
    fitted = card.fit(spec, found)
    assert (fitted.prompt, fitted.dropped_negative) == ("a red apple", "worms")
    weighing = card.model_copy(update={"prompt_weights": True})
    fitted = weighing.fit(spec.model_copy(update={"version": 1}), found)
    assert (fitted.prompt, fitted.version) == ("a (red:1.3) apple", SPEC_VERSION)
    assert weighing.fit(spec.model_copy(update={"version": 1}), Conditions(prompt="an apple")).version == 1
