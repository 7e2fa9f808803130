"""However a text is repeated, it is read at once: no pattern of a language tries the same words in several ways."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import limner_worker
from limner_shared.domain.conditions import MAX_DESCRIPTION, MAX_TEXT, Conditions, Turn
from limner_shared.domain.scenes import SceneRule
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.generators.builtin.scenes.reading import SceneReader
from limner_worker.generators.text_encoding.sentence_encoder import TextEncoder
from limner_worker.languages import expression
from limner_worker.stages.interpretation import rules
from limner_worker.stages.interpretation.language.files import BY_CODE
from limner_worker.stages.interpretation.reading.taking_apart import MOST_LEFT_OUT, ParsedRequest, taken_apart
from limner_worker.stages.interpretation.rules import READ_BEFORE, interpret

TEXT = Path(limner_worker.__file__).parent / "models" / "limner-text"
REQUESTS = Path(__file__).parents[2] / "data" / "requests.jsonl"
STYLES, SIZES = ("3d", "noto", "noto-v1", "flat"), ((256, 256), (64, 64))
BEFORE = (Turn(text="a cat", conditions=Conditions(prompt="a cat, " * (MAX_TEXT // 8), n=4, seed=7)),)
pytestmark = pytest.mark.timeout(20)
"""What took exponential time before would not end within the age of the universe, and what took cubic time in a minute.
Each takes a tenth of a second now."""


@pytest.mark.parametrize("history", [(), BEFORE], ids=["description", "message"])
@pytest.mark.parametrize(
    "repeated",
    [
        ("it is late, so ", "could you please ", "go"),
        ("es ist spät, also ", "kannst du bitte mal ", "los"),
        ("het is laat, dus ", "zou je alsjeblieft ", "x"),
        ("уже поздно, поэтому ", "вы могли бы пожалуйста ", "x"),
        ("", "a cat without a hat, ", ""),
        ("", "猫なし", ""),
        ("a cat", " ,", "no"),
        ("", "two hundred and one ", "x"),
        ("", "五百", ""),
        ("", "„no «", '"'),
        ("", "\U0001f431\U0001f355", "x"),
        ("", "고양이와 ", "없는"),
    ],
    ids=lambda parts: parts[1].strip(),
)
def test_a_repeated_phrase_is_read_at_once(repeated: tuple[str, str, str], history: tuple[Turn, ...]):
    first, middle, last = repeated
    for length in (1400, MAX_DESCRIPTION - len(last)):
        text = f"{first}{middle * length}"[:length] + last
        assert interpret(text, STYLES, history, SIZES).prompt


def test_only_the_newest_messages_of_a_long_conversation_are_read(monkeypatch: pytest.MonkeyPatch):
    read: list[str] = []

    def note(text: str, *others: Any, **options: Any) -> ParsedRequest:
        read.append(text)
        return taken_apart(text, *others, **options)

    monkeypatch.setattr(rules, "taken_apart", note)
    history = [Turn(text=f"{number}: a {'very ' * 200}large cat") for number in range(20)]
    assert interpret("now a dog", STYLES, history, SIZES).prompt == "a dog"
    assert sum(len(text) for text in dict.fromkeys(read)) <= READ_BEFORE + len("now a dog")
    assert any(text.startswith("19: ") for text in read)


@pytest.mark.parametrize("language", BY_CODE)
def test_descriptions_are_read_at_once_when_repeated(language: str):
    rows = [json.loads(line) for line in REQUESTS.read_text("utf-8").splitlines()]
    for row in [row for row in rows if row["language"] == language][::12]:
        assert interpret(f"{row['text']} " * 30 + "!", STYLES, (), SIZES).prompt


def test_a_text_that_leaves_out_very_much_keeps_the_rest_in_its_prompt():
    found = interpret("a street" + ", no ".join(f"thing{k}" for k in range(60)), STYLES, (), SIZES)
    assert len(found.negative_prompt.split(", ")) == MOST_LEFT_OUT
    assert "thing59" in found.prompt


def test_a_prompt_that_is_full_stays_within_its_limit():
    full = (Turn(text="a cat", conditions=Conditions(prompt="a" * MAX_TEXT, seed=7)),)
    assert len(interpret("add a hat", STYLES, full, SIZES).prompt) == MAX_TEXT


@pytest.mark.parametrize("text", ["&" * 160, "+" * 80, "猫、" * 80, "猫と" * 40, "cat," * 40])
def test_a_prompt_of_conjunctions_alone_is_looked_up_a_few_times(text: str):
    looked_up: list[str] = []
    encoder = TextEncoder(TEXT)

    def encode(texts: Sequence[str]) -> torch.Tensor:
        looked_up.extend(texts)
        return encoder.encode(texts)

    assert SceneReader(KnownNames(TEXT), encode).read(text, SceneRule(most=3, least=0.8)) is None
    assert len(looked_up) <= len(text)


@pytest.mark.parametrize("source", ["(?:a|b)*c", "(?:a+)+", "(?:a|b){2,}", "(?:x|y){0,9}", r"[)]\)(a)+?", "(a){12}"])
def test_a_pattern_that_repeats_a_group_and_could_undo_it_is_refused(source: str):
    with pytest.raises(ValueError, match="possessive"):
        expression(source)


@pytest.mark.parametrize("source", ["(?:a|b)*+c", "(?:a+)++", "(?:x|y){0,9}+", "(?:a|b){0,4}", r"[)*]+\)*", "(?:a)?"])
def test_a_pattern_whose_repeats_are_final_or_few_is_compiled(source: str):
    assert expression(source).pattern == source
