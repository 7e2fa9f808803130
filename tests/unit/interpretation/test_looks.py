"""How all of a picture should look, and words of a message that no part has."""

from __future__ import annotations

import pytest

from limner_shared.domain.conditions import Conditions, Turn
from limner_worker.stages.interpretation.rules import interpret

from .follow_ups import SEED, SIZES, STYLES, wished


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        (
            "a pair of scales on a desk",
            "proceed, but {look:with a darker mood}, sir",
            "a pair of scales on a desk, darker mood",
        ),
        ("un faro en la costa", "vale, {look:en acuarela} y listo", "un faro en la costa, acuarela"),
        (
            "una biblioteca antica",
            "gentilissimi, la preferirei {look:con un'atmosfera più calda}",
            "una biblioteca antica, atmosfera più calda",
        ),
        (
            "eine Schmiede in einer Höhle",
            "und {look:als Pixel Art} wär's perfekt",
            "eine Schmiede in einer Höhle, Pixel Art",
        ),
        ("a woman in a salon chair", "hm, {look:softer overall} maybe", "a woman in a salon chair, softer"),
        (
            "дракон обвивает меч",
            "хм, {look:мрачнее и карандашный рисунок} бы",
            "дракон обвивает меч, мрачнее, карандашный рисунок",
        ),
        ("本を読むおばあさん", "あと{look:水彩画に}してほしいです", "本を読むおばあさん，水彩画"),
        (
            "un escalier en hêtre dans une entrée",
            "{quality:En métal}, ça donnerait quoi ?",
            "un escalier en métal dans une entrée",
        ),
    ],
)
def test_a_look_has_no_words_that_only_lead_to_it(before: str, message: str, prompt: str) -> None:
    assert wished(before, message).prompt == prompt


@pytest.mark.parametrize(
    ("before", "message", "prompt", "negative"),
    [
        (
            "un village avec deux oiseaux",
            "Bonjour, les oiseaux sont superflus. Pourriez-vous les supprimer ?",
            "un village",
            "oiseaux",
        ),
        (
            "een kamer met een piano en een gewei",
            "dat gewei vind ik eigenlijk zielig, weglaten svp",
            "een kamer met een piano",
            "gewei",
        ),
        (
            "ёлка с подарками у камина",
            "подарки какие-то кривые вышли, убери подарки пожалуйста",
            "ёлка у камина",
            "подарки",
        ),
    ],
)
def test_a_denied_thing_goes_from_a_message_in_which_a_tagger_finds_no_wish(
    before: str, message: str, prompt: str, negative: str
) -> None:
    found = wished(before, message)
    assert (found.prompt, found.negative_prompt, found.seed) == (prompt, negative, SEED)


def test_another_try_is_read_behind_words_that_say_nothing() -> None:
    found = wished("un plateau de macarons", "bof, rien ne me plait la dedans... on retente ?")
    assert (found.prompt, found.seed) == ("un plateau de macarons", None)


def test_a_message_of_which_nothing_is_read_leaves_the_picture_as_it_is() -> None:
    found = wished(
        "a tractor on a hill", "Hm. Uncle Bert used to drive one of those to church on Sundays, would you believe."
    )
    assert (found.prompt, found.seed) == ("a tractor on a hill", SEED)


def test_a_short_message_may_be_another_subject_though_no_tagger_says_so() -> None:
    assert wished("a tractor on a hill", "a castle at dawn").prompt == "a castle at dawn"


def test_a_change_is_undone_though_a_tagger_finds_no_wish() -> None:
    prompts = ("a chapel of St. Peter. Old stones.", "a barn")
    history = [Turn(text=each, conditions=Conditions(prompt=each, n=1, seed=SEED)) for each in prompts]
    found = interpret("go back to the previous version", STYLES, history, SIZES, parts=[])
    assert found.prompt == prompts[0]


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("호랑이", "{size:정사각형}에 {look:색연필 그림}", "호랑이, 색연필 그림"),
        ("Zwerge im Wald", "{look:Als Aquarell fände} ich das hübscher", "Zwerge im Wald, Aquarell"),
        (
            "ein Sessel",
            "Bitte {look:gemütlicher und als Buntstiftzeichnung}",
            "ein Sessel, gemütlicher, Buntstiftzeichnung",
        ),
        (
            "une ruelle",
            "quelque chose {look:de plus lumineux, en aquarelle}",
            "une ruelle, plus lumineux, en aquarelle",
        ),
        ("une maîtresse d'école", "{look:un peu plus souriante} ?", "une maîtresse d'école, un peu plus souriante"),
        ("老师在讲课", "气氛{look:更活泼一点}", "老师在讲课\uff0c气氛更活泼一点"),
        ("un ufficio con piante", "{look:più allegro} dai", "un ufficio con piante, più allegro"),
    ],
)
def test_a_look_has_no_words_around_it(before: str, message: str, prompt: str) -> None:
    assert wished(before, message).prompt == prompt


def test_another_look_is_no_other_try() -> None:
    found = wished("una oficina vacía", "Está bien, pero da un poco de pena. ¿Más alegre?")
    assert (found.prompt.lower(), found.seed) == ("una oficina vacía, más alegre", SEED)


def test_a_style_is_no_look() -> None:
    found = wished("un cesto di limoni", "Fallo {size:quadrato} in stile {style:flat} che lo stampo")
    assert (found.prompt, found.style, found.width) == ("un cesto di limoni", "flat", 256)
