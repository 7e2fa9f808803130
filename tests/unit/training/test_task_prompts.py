"""The prompts of the evaluation's tasks are made by rule, the same each time, and in every language."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from limner_training.tasks.colours import colour_of
from limner_training.tasks.judging import Verdict
from limner_training.tasks.prompts import (
    ASKED_COLOURS,
    COLOURED,
    NUMBERS,
    OTHER_LANGUAGES,
    RELATIONS,
    TASKS,
    coloured,
    counted,
    held_out,
    own_sentences,
    prompts,
    templates,
)
from limner_training.tasks.scoring import GOALS, SHEET, Share, share, shuffled
from limner_training.tasks.true_drawings import SIDE, drawn, places, recoloured, rgba
from limner_training.tasks.vocabulary import Noun, nouns
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.networks.weights import SHIPPED
from limner_worker.stages.interpretation.language.files import BY_CODE

APPLE = Noun(
    "1f34e", "red apple", ("flat",), (), ("red",), recolourable=True, names=dict.fromkeys(OTHER_LANGUAGES, "x")
)
DISC = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><circle cx="16" cy="16" r="15" fill="{}"/></svg>'


def by_name(name: str) -> Noun:
    return next(noun for noun in nouns() if noun.name == name)


def test_the_nouns_are_names_that_the_evaluator_knows_in_eleven_languages() -> None:
    known = KnownNames(SHIPPED / "limner-text").names
    assert len(nouns()) >= 150
    for noun in nouns():
        assert noun.name in known
        assert noun.styles
        assert not set(noun.styles) & set(noun.held_out)
        assert noun.names.keys() == set(OTHER_LANGUAGES)
        assert all(noun.names.values())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("language", ["en", *OTHER_LANGUAGES])
def test_a_list_is_always_the_same_and_names_all_that_it_wants(task: str, language: str) -> None:
    found = prompts(task, language, 12)
    assert found == prompts(task, language, 12)
    assert found[:5] == prompts(task, language, 5)
    assert found != prompts(task, language, 12, seed=1)
    for prompt in found:
        assert (prompt.task, prompt.language) == (task, language)
        assert "{" not in prompt.text
        assert task == "counting" or all(wanted.noun.called(language) in prompt.text for wanted in prompt.wanted)


def test_lists_repeat_a_prompt_only_when_the_combinations_are_used_up() -> None:
    assert len({prompt.text for prompt in prompts("two objects", "en", 300)}) == 300
    assert len(prompts("held out", "en", 300)) == 300


def test_compositions_are_from_the_combinations_that_are_held_out() -> None:
    for prompt in prompts("colour", "en", 50):
        (wanted,) = prompt.wanted
        assert held_out("colour", wanted.colour, wanted.noun.concept)
        assert wanted.colour not in wanted.noun.colours
    for prompt in prompts("two objects", "de", 50) + prompts("position", "de", 50):
        first, second = prompt.wanted
        assert held_out("pair", *sorted((first.noun.concept, second.noun.concept)))
    for prompt in prompts("counting", "en", 50):
        assert held_out("counting", prompt.number, prompt.wanted[0].noun.concept)
    share_held_out = np.mean([held_out("pair", *pair) for pair in itertools.combinations(range(60), 2)])
    assert 0.2 < share_held_out < 0.3


def test_every_number_relation_and_colour_occurs() -> None:
    assert {prompt.number for prompt in prompts("counting", "en", 60)} == set(NUMBERS)
    assert {prompt.relation for prompt in prompts("position", "en", 60)} == set(RELATIONS)
    assert {prompt.wanted[0].colour for prompt in prompts("colour", "en", 300)} == set(ASKED_COLOURS)


def test_held_out_pairs_name_their_style_and_compositions_leave_it_to_the_model() -> None:
    for prompt in prompts("held out", "en", 40):
        assert prompt.style in prompt.wanted[0].noun.held_out
    assert {prompt.style for task in GOALS for prompt in prompts(task, "en", 10)} == {None}


@pytest.mark.parametrize("task", ["sentence", "colour", "counting", "two", "position", "single"])
def test_each_template_file_has_every_language_of_the_interpreter(task: str) -> None:
    assert templates(task).keys() == BY_CODE.keys()


def test_phrases_agree_in_number_and_use_words_that_need_no_gender() -> None:
    names = {"en": "cherry", "es": "pez", "fr": "gâteau", "it": "formica", "pt": "leão", "de": "Apfel", "ja": "りんご"}
    thing = Noun("x", "cherry", ("flat",), (), (), recolourable=True, names=dict.fromkeys(OTHER_LANGUAGES, "") | names)
    assert counted(thing, 3, "en") == "three cherries"
    assert counted(thing, 1, "en") == "1 cherry"
    assert counted(thing, 4, "es") == "cuatro peces"
    assert counted(thing, 2, "fr") == "deux gâteaux"
    assert counted(thing, 3, "it") == "tre formiche"
    assert [counted(thing, n, "pt") for n in (2, 3)] == ["2 leões", "três leões"]
    assert counted(thing, 2, "de") == "zwei Stück Apfel"
    assert counted(thing, 3, "ja") == "りんごを三つ"
    assert coloured(thing, "blue", "es") == "pez azul"
    assert coloured(thing, "red", "es") == "pez de color rojo"
    assert coloured(thing, "red", "de") == "Apfel in der Farbe rot"
    assert coloured(thing, "red", "ja") == "赤いりんご"


def test_english_articles_fit_the_word_after_them() -> None:
    texts = [prompt.text for task in ("two objects", "colour", "in sentences") for prompt in prompts(task, "en", 120)]
    assert any(" an " in f" {text}" for text in texts)
    assert not [text for text in texts if f" {text}".count(" a o") or f" {text}".count(" a a")]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_true_drawings_do_not_overlap(count: int) -> None:
    for seed in range(20):
        spots = places(count, None, random.Random(seed))
        for (first, one), (second, two) in itertools.combinations(spots, 2):
            apart = max(abs(a - b) for a, b in zip(first, second, strict=True)) * SIDE
            assert apart > (one + two) / 2
        assert all(at * SIDE - side / 2 >= 0 and at * SIDE + side / 2 <= SIDE for spot, side in spots for at in spot)


@pytest.mark.parametrize(
    "colour", ["red", "green", "blue", "yellow", "orange", "purple", "pink", "brown", "black", "grey"]
)
def test_a_recoloured_drawing_has_the_colour_and_keeps_its_outline(colour: str) -> None:
    picture = recoloured(rgba(DISC.format("#e0b020"), 64), colour)
    solid = picture[..., 3] > 200
    assert colour_of(picture[solid][:, :3]) == colour
    assert (picture[..., 3] == rgba(DISC.format("#e0b020"), 64)[..., 3]).all()


def test_a_true_drawing_of_each_task_is_made_the_same_again() -> None:
    for task in TASKS:
        (prompt,) = prompts(task, "en", 1)
        keys = [(w.noun.concept, style) for w in prompt.wanted for style in (*w.noun.styles, *w.noun.held_out)]
        sources = dict.fromkeys(keys, DISC.format("teal"))
        first, again = (drawn(prompt, sources, random.Random(3)) for _ in range(2))
        assert first.shape == (SIDE, SIDE, 3)
        assert (first == again).all()


def test_the_interval_of_a_share_is_wilsons_score_interval() -> None:
    assert Share(0, 10).interval == pytest.approx((0, 0.2775), abs=1e-4)
    assert Share(5, 10).interval == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert Share(10, 10).interval == pytest.approx((0.7225, 1), abs=1e-4)
    assert str(Share(1, 4)) == "0.25 (0.05-0.70)"
    assert share([Verdict(True, True, True, 1), Verdict(False, True, False, 2)]) == Share(1, 2)


@pytest.mark.parametrize("task", TASKS)
def test_for_the_floor_each_picture_is_scored_by_a_prompt_about_other_things(task: str) -> None:
    asked = prompts(task, "en", 24)
    for prompt, other in zip(asked, shuffled(asked), strict=True):
        assert not {w.noun.concept for w in prompt.wanted} & {w.noun.concept for w in other.wanted}


def test_the_contact_sheet_shows_64_prompts_of_held_out_combinations() -> None:
    assert sum(SHEET.values()) == 64
    assert "seen" not in SHEET
    assert set(SHEET) < set(TASKS)
    assert set(TASKS) >= COLOURED


def test_own_sentences_are_filled_with_nouns_and_the_article_that_fits() -> None:
    found = own_sentences(["a {name} by the sea", "{name} {at night}"], 200)
    assert found == own_sentences(["a {name} by the sea", "{name} {at night}"], 200)
    assert len({each.text for each in found}) == 200
    assert all(each.wanted[0].noun.called("en") in each.text and "{name}" not in each.text for each in found)
    assert any(each.text.startswith("an ") for each in found)
    assert any(each.text.endswith(" {at night}") for each in found)
