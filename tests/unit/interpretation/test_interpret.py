"""Interpretation by a language model server: how answers are checked, and when rules interpret."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.fake_llm import Answer, fake_llm
from tests.unit.interpretation.interpreters import request

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.conditions import Conditions, Turn
from limner_worker.stages.interpretation.chat_client import FAILURES, OPEN_SECONDS, ChatClient
from limner_worker.stages.interpretation.interpreter import Interpreter


def says(**conditions: Any) -> Answer:
    return {"content": json.dumps(conditions)}


def interpreted(catalogue: Catalogue, answer: Answer, description: str = "a cat with a hat please", seconds: float = 5):
    with fake_llm(lambda _: answer) as server:
        client = ChatClient(server.url, "a-model", "a-key", seconds)
        [found] = Interpreter(client)([request(catalogue, description)])
        client.close()
    return found, server


def test_a_servers_conditions_are_used(catalogue: Catalogue):
    text = "two pictures of a cat with a hat please"
    found, server = interpreted(catalogue, says(prompt="a cat in a top hat", style="flat", n=2), text)
    assert (found.backend, found.model, found.fallback) == ("server", "a-model", None)
    assert (found.conditions.prompt, found.conditions.style, found.conditions.n) == ("a cat in a top hat", "flat", 2)
    asked = server.asked[0]
    assert asked["messages"][-1]["content"] == text
    assert asked["response_format"]["json_schema"]["schema"]["additionalProperties"] is False


def test_json_within_other_text_is_found(catalogue: Catalogue):
    found, _ = interpreted(catalogue, {"content": 'Sure!\n```json\n{"prompt": "a cat"}\n```'})
    assert found.backend == "server"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"content": "I like cats."}, "not JSON"),
        ({"content": ""}, "is empty"),
        ({"content": None, "refusal": "No."}, "refused to answer"),
        (says(prompt=""), "prompt"),
        (says(prompt=" \x00 "), "prompt"),
        (says(prompt="x" * 20_001), "prompt"),
        (says(prompt="a cat", sampler="ddim"), "sampler"),
        (says(prompt="a cat", n=-3), "n"),
        (says(prompt="a cat", **{"no\x00t\nes": 1}), "notes: "),
        (says(prompt="a cat", **{"k" * 10_000: 1}), "kkkk: "),
        (says(prompt=["a cat"]), "prompt"),
        ((500, b"oh"), "answered with status 500"),
        ((200, b"<html>"), "OpenAI's format"),
        ((200, b'{"choices": []}'), "OpenAI's format"),
        ((200, b"[1]"), "OpenAI's format"),
        ((200, b'{"choices": [{"message": "a cat"}]}'), "OpenAI's format"),
        ((200, b"[" * 100_000), "OpenAI's format"),
        ({"content": "{" * 100_000}, "not JSON"),
        ({"content": '{"prompt": "a \\ud83d"}'}, "prompt"),
        ((200, b" " * (2 << 20)), "is too long"),
        ((302, b""), "answered with status 302"),
    ],
)
def test_after_an_unusable_answer_rules_interpret_and_the_reason_is_recorded(
    catalogue: Catalogue, answer: Any, reason: str
):
    found, _ = interpreted(catalogue, answer)
    assert found.backend == "rules"
    assert found.conditions.prompt == "a cat with a hat"
    assert found.fallback is not None
    assert reason in found.fallback
    assert found.fallback.isprintable(), "PostgreSQL does not store every character"
    assert len(found.fallback) < 500


def test_rules_interpret_after_a_timeout(catalogue: Catalogue):
    with fake_llm(lambda _: {"content": "{}"} if server.closing.wait(30) else {}) as server:
        client = ChatClient(server.url, "a-model", seconds=0.2)
        [found] = Interpreter(client)([request(catalogue, "a cat")])
        server.closing.set()
    assert found.backend == "rules"
    assert "0.2 seconds" in found.fallback


def test_the_timeout_also_limits_an_answer_that_arrives_slowly(catalogue: Catalogue):
    with fake_llm(lambda _: {"content": "x" * 10_000}) as server:
        server.trickle = 0.05
        [found] = Interpreter(ChatClient(server.url, "a-model", seconds=0.3))([request(catalogue, "a cat")])
        server.closing.set()
    assert "0.3 seconds" in found.fallback
    assert found.seconds < 5


def test_a_failing_server_opens_the_circuit_breaker_and_is_asked_again_later(catalogue: Catalogue):
    now = [0.0]
    with fake_llm(lambda _: (503, b"")) as server:
        interpreter = Interpreter(ChatClient(server.url, "m", clock=lambda: now[0]))
        for _ in range(FAILURES):
            [found] = interpreter([request(catalogue, "a cat")])
            assert "answered with status 503" in found.fallback
        [found] = interpreter([request(catalogue, "a cat")])
        assert "not asked for a while" in found.fallback
        assert len(server.asked) == FAILURES
        now[0] += OPEN_SECONDS
        server.answer = lambda _: says(prompt="a cat")
        assert [interpreter([request(catalogue, "a cat")])[0].backend for _ in range(2)] == ["server"] * 2


@pytest.mark.parametrize("refusal", [{"content": "no"}, (400, b"{}"), (413, b""), (422, b"{}")], ids=str)
def test_refusals_and_unusable_answers_do_not_open_the_circuit_breaker(catalogue: Catalogue, refusal: Answer):
    with fake_llm(lambda _: refusal) as server:
        interpreter = Interpreter(ChatClient(server.url, "m"))
        assert [interpreter([request(catalogue, "a cat")])[0].backend for _ in range(5)] == ["rules"] * 5
        server.answer = lambda _: says(prompt="a cat")
        assert interpreter([request(catalogue, "a cat")])[0].backend == "server"


def test_reasoning_before_the_answer_is_ignored(catalogue: Catalogue):
    found, _ = interpreted(catalogue, {"content": '<think>{"prompt": "a dog"}?</think>{"prompt": "a cat"}'})
    assert found.conditions.prompt == "a cat"


def test_rules_interpret_if_the_server_is_unreachable(catalogue: Catalogue):
    with fake_llm(lambda _: {}) as server:
        url = server.url
    [found] = Interpreter(ChatClient(url, "a-model"))([request(catalogue, "a cat")])
    assert (found.backend, found.fallback) == ("rules", "The language model's server cannot be reached.")


def test_a_server_without_response_format_is_asked_again_without_it(catalogue: Catalogue):
    def answer(body: Any):
        return (400, b"{}") if "response_format" in body else {"content": '{"prompt": "a cat"}'}

    with fake_llm(answer) as server:
        [found] = Interpreter(ChatClient(server.url, "m"))([request(catalogue, "a cat")])
    assert (found.backend, len(server.asked)) == ("server", 2)


def test_the_users_words_are_never_lost(catalogue: Catalogue):
    found, _ = interpreted(catalogue, says(prompt="a beautiful sunset over mountains"))
    assert found.conditions.prompt == "a cat with a hat, a beautiful sunset over mountains"


@pytest.mark.parametrize(
    ("description", "answer", "kept"),
    [
        ("a cat with a hat", "a sunset with the clouds", False),  # "with" is not a content word
        ("cats", "a tabby cat", True),
        ("一只红色的猫", "一座蓝色的山", True),  # a shared colour is enough
        ("一只猫", "一个人在海边的照片", False),
        ("ひまわりの絵", "ひまわり、青空", True),
        ("りんごを描いて", "海と空", False),
        ("고양이를 그려줘", "귀여운 고양이", True),
        ("нарисуй кота", "рыжий кот на крыше", True),
    ],
)
def test_a_prompt_that_shares_no_content_word_gets_the_users_words(
    catalogue: Catalogue, description: str, answer: str, kept: bool
):
    found, _ = interpreted(catalogue, says(prompt=answer), description)
    assert (found.conditions.prompt == answer) is kept
    assert found.conditions.prompt.endswith(answer)


def test_a_translated_prompt_is_used(catalogue: Catalogue):
    found, _ = interpreted(catalogue, says(prompt="a red apple"), "请画一个红苹果")
    assert found.conditions.prompt == "a red apple"


def test_seeds_and_styles_that_were_not_requested_or_do_not_exist_are_dropped(catalogue: Catalogue):
    found, _ = interpreted(catalogue, says(prompt="a cat", seed=12345, style="cubist"))
    assert (found.conditions.seed, found.conditions.style) == (None, None)


@pytest.mark.parametrize(
    ("description", "answer", "kept"),
    [
        ("a cat", {"negative_prompt": "blurry, low quality"}, {"negative_prompt": ""}),
        ("a cat", {"n": 4}, {"n": None}),
        ("a cat", {"width": 384, "height": 256}, {"width": None, "height": None}),
        ("a huge cat", {"width": 384, "height": 256}, {"width": None, "height": None}),
        ("three cats", {"n": 3}, {"n": 3}),
        ("a cat, we are four who want one each", {"n": 4}, {"n": 4}),
        ("mehrere Bilder von einer Katze", {"n": 3}, {"n": 3}),
        ("a cat for a tall banner", {"width": 256, "height": 384}, {"width": 256, "height": 384}),
        ("a cat, the collar spoils it", {"negative_prompt": "collar, text"}, {"negative_prompt": "collar"}),
        ("一只猫，不要帽子", {"negative_prompt": "hat"}, {"negative_prompt": "hat"}),
    ],
)
def test_conditions_that_the_text_does_not_say_are_dropped(
    catalogue: Catalogue, description: str, answer: dict[str, Any], kept: dict[str, Any]
):
    found, _ = interpreted(catalogue, says(prompt="a cat", **answer), description)
    assert {name: getattr(found.conditions, name) for name in kept} == kept


def test_conditions_of_the_picture_before_are_kept(catalogue: Catalogue):
    earlier = Conditions(prompt="a cat", n=2, width=64, height=64, negative_prompt="hat", seed=7)
    answer = says(prompt="a blue cat", n=2, width=64, height=64, negative_prompt="hat, blur", seed=7)
    with fake_llm(lambda _: answer) as server:
        before = Turn(text="a cat", conditions=earlier)
        [found] = Interpreter(ChatClient(server.url, "m"))([request(catalogue, "bluer", before)])
    assert (found.conditions.n, found.conditions.width, found.conditions.height) == (2, 64, 64)
    assert found.conditions.negative_prompt == "hat"


def test_the_instruction_says_what_the_model_can_draw_and_leave_out(catalogue: Catalogue):
    card = catalogue.get("limner-flow")
    _, server = interpreted(catalogue, says(prompt="a cat"))
    told = server.asked[0]["messages"][0]["content"]
    assert f"{card.max_prompt_chars} characters" in told
    assert "cannot leave things out" in told
    assert card.scenes is not None
    assert f"at most {card.scenes.most} things" in told


def test_in_a_conversation_the_server_gets_the_earlier_turns(catalogue: Catalogue):
    before = Turn(text="a red car", conditions=Conditions(prompt="a red car", seed=7))
    with fake_llm(lambda _: says(prompt="a blue car", seed=7)) as server:
        [found] = Interpreter(ChatClient(server.url, "m"))([request(catalogue, "bluer", before)])
    assert "a red car" in server.asked[0]["messages"][0]["content"]
    assert (found.conditions.prompt, found.conditions.seed) == ("a blue car", 7)


def test_the_answers_to_a_batch_are_matched_to_their_descriptions(catalogue: Catalogue):
    def answer(body: Any):
        return says(prompt=f"{body['messages'][-1]['content']}, painted")

    with fake_llm(answer) as server:
        found = Interpreter(ChatClient(server.url, "m"))([request(catalogue, f"cat {n}") for n in range(20)])
    assert [each.conditions.prompt for each in found] == [f"cat {n}, painted" for n in range(20)]


def test_without_a_language_model_rules_interpret_and_off_uses_the_description_as_prompt(catalogue: Catalogue):
    [rules] = Interpreter()([request(catalogue, "please draw a cat")])
    [plain] = Interpreter(plain=True)([request(catalogue, "please draw a cat")])
    assert (rules.backend, rules.conditions.prompt, rules.fallback) == ("rules", "a cat", None)
    assert (plain.backend, plain.conditions.prompt) == ("none", "please draw a cat")
