"""Small talk: what is answered in words, and that no description is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from limner_shared.domain.catalogue import built_in_cards
from limner_web import small_talk
from limner_worker.stages.interpretation.language.files import BY_CODE

CARD = next(card for card in built_in_cards() if card.name == "limner-flow")
DATA = Path(__file__).parents[2] / "data"


def texts_in(value: Any) -> Iterator[str]:
    """All texts of a JSON value."""
    if isinstance(value, str):
        yield value
    elif not isinstance(value, int | float | None):
        for each in getattr(value, "values", lambda: value)():
            yield from texts_in(each)


@pytest.mark.parametrize(
    ("message", "kind", "language"),
    [
        ("hello", "greeting", "en"),
        ("Hello there! 👋", "greeting", "en"),
        ("hi, what can you draw?", "help", "en"),
        ("Hi what can you draw", "help", "en"),
        ("HELP", "help", "en"),
        ("thanks a lot, bye!", "thanks", "en"),
        ("Guten Tag! Was können Sie alles zeichnen?", "help", "de"),
        ("Grüß Gott", "greeting", "de"),
        ("vielen Dank :)", "thanks", "de"),
        ("Merci beaucoup !", "thanks", "fr"),
        ("¿Qué puedes dibujar?", "help", "es"),
        ("você pode me ajudar?", "help", "pt"),
        ("Cosa sai fare?", "help", "it"),
        ("Hoe werkt dit?", "help", "nl"),
        ("Привет! Что ты умеешь рисовать?", "help", "ru"),
        ("你好!你能画什么?", "help", "zh"),
        ("ありがとうございます。", "thanks", "ja"),
        ("안녕하세요", "greeting", "ko"),
    ],
)
def test_small_talk_is_recognised_in_each_language(message: str, kind: str, language: str):
    talk = small_talk.read(message)
    assert talk is not None
    assert (talk.kind, talk.languages[0]) == (kind, language)
    reply = small_talk.answer(talk, CARD)
    assert reply.language == language
    assert (CARD.title in reply.text) == (kind == "help")
    assert reply.text
    assert "{" not in reply.text


@pytest.mark.parametrize(
    "message",
    [
        "hello kitty on a beach",
        "hello kitty",
        "a hello sign",
        '"hello"',
        "thanks, now a dog",
        "hello! a red car, please",
        "help me draw a cat",
        "thank you card with flowers",
        "good morning sunrise over the hills",
        "what can you see from the moon?",
        "Hallo, zeichne bitte einen Hund",
        "danke, und jetzt blau",
        "bonjour paris",
        "你好世界",
        "ciao bella",
        "👋",
        "❤️",
        "another one",
        "make it blue",
        "no",
        "?",
        "",
        "  ",
    ],
)
def test_a_description_is_never_small_talk(message: str):
    assert small_talk.read(message) is None


def test_no_description_of_the_interpreters_own_data_is_small_talk():
    files = [DATA / f"{name}.jsonl" for name in ("descriptions", "requests", "followups")]
    texts = {
        text
        for file in files
        for line in file.read_text("utf-8").splitlines()
        for text in texts_in(json.loads(line) | {"gone": None, "subject": None})
    }
    assert len(texts) > 1000
    assert [text for text in texts if small_talk.read(text) is not None] == []


def test_a_greeting_that_languages_share_is_answered_in_the_readers_language():
    talk = small_talk.read("hallo")
    assert talk is not None
    assert {"de", "nl"} <= set(talk.languages)
    assert small_talk.answer(talk, CARD, ["fr", "nl"]).language == "nl"
    assert small_talk.answer(talk, CARD).language == "de"


def test_every_language_of_the_interpreter_is_spoken():
    assert set(small_talk.languages_known()) == set(BY_CODE)


def test_no_example_is_small_talk_itself():
    for said in small_talk.languages_known().values():
        assert [example for example in said.examples if small_talk.read(example)] == []


def test_a_hostile_text_is_judged_at_once():
    started = perf_counter()
    small_talk.read("hoi " * 39 + "x")
    small_talk.read("moin moin, " * 14 + "x")
    assert perf_counter() - started < 1
