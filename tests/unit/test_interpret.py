"""Interpretation by a server or a local model: how answers are checked, and when rules take over."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.fake_llm import Answer, fake_llm

from limner_shared.domain.cards import Catalogue
from limner_shared.domain.conditions import Conditions, Turn
from limner_shared.domain.jobs import JobRequest
from limner_worker.stages.interpretation import presentation
from limner_worker.stages.interpretation.client import FAILURES, OPEN_SECONDS, ChatClient, LanguageError
from limner_worker.stages.interpretation.interpreter import Interpreter, Request
from limner_worker.stages.interpretation.language_files import BY_CODE


def request(catalogue: Catalogue, description: str, *history: Turn) -> Request:
    card, spec = catalogue.resolve(JobRequest(description=description))
    return Request(spec.model_copy(update={"history": history}), card)


def says(**conditions: Any) -> Answer:
    return {"content": json.dumps(conditions)}


def interpreted(catalogue: Catalogue, answer: Answer, description: str = "a cat with a hat please", seconds: float = 5):
    with fake_llm(lambda _: answer) as server:
        client = ChatClient(server.url, "a-model", "a-key", seconds)
        [found] = Interpreter(client)([request(catalogue, description)])
        client.close()
    return found, server


def test_a_servers_conditions_are_used(catalogue: Catalogue):
    found, server = interpreted(catalogue, says(prompt="a cat in a top hat", style="flat", n=2))
    assert (found.backend, found.model, found.fallback) == ("server", "a-model", None)
    assert (found.conditions.prompt, found.conditions.style, found.conditions.n) == ("a cat in a top hat", "flat", 2)
    asked = server.asked[0]
    assert asked["messages"][-1]["content"] == "a cat with a hat please"
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
    assert reason in found.fallback


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


def test_refusals_and_unusable_answers_do_not_open_the_circuit_breaker(catalogue: Catalogue):
    with fake_llm(lambda _: {"content": "no"}) as server:
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


@pytest.mark.parametrize(
    ("description", "language"),
    [
        ("a red apple", "en"),
        ("ein roter Apfel", "de"),
        ("una manzana roja", "es"),
        ("une pomme rouge", "fr"),
        ("красное яблоко", "ru"),
        ("红苹果", "zh"),
        ("赤いりんごの絵", "ja"),
        ("uma maçã vermelha", "pt"),
        ("una mela rossa", "it"),
        ("een rode appel", "nl"),
        ("빨간 사과", "ko"),
    ],
)
def test_a_picture_is_presented_in_the_language_of_its_description(
    catalogue: Catalogue, description: str, language: str
):
    _, spec = catalogue.resolve(JobRequest(description=description))
    assert presentation.language_of(description) == language
    assert description in presentation.by_rules(spec)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("please make an image of a cat", "en"),
        ("un chien avec un chapeau", "fr"),
        ("un perro con sombrero", "es"),
        ("un château", "fr"),
        ("Katze ohne Hut", "de"),
        ("cat", "en"),
    ],
)
def test_languages_are_recognized_by_small_words_and_letters(text: str, language: str):
    assert presentation.language_of(text) == language


def test_a_changed_picture_is_presented_as_one_in_the_language_of_the_conversation(catalogue: Catalogue):
    before = Turn(text="zeichne ein rotes Auto", conditions=Conditions(prompt="ein rotes Auto", seed=7))
    spec = request(catalogue, "3d", before).spec.model_copy(
        update={"prompt": "ein rotes Auto", "seed": 7, "styles": ()}
    )
    assert presentation.by_rules(spec) == "Hier ist das geänderte Bild: ein rotes Auto."
    another = spec.model_copy(update={"seed": 8})
    assert presentation.by_rules(another) == "Hier ist dein Bild: ein rotes Auto."
    with fake_llm(lambda _: {"content": "Es ist da."}) as server:
        presentation.by_server(ChatClient(server.url, "m"), spec)
    assert "changed from: ein rotes Auto" in server.asked[0]["messages"][1]["content"]


def test_a_presentation_names_number_style_and_omitted_things(catalogue: Catalogue):
    _, spec = catalogue.resolve(JobRequest(description="a cat", n=3, style="flat"))
    spec = spec.model_copy(update={"negative_prompt": "hat"})
    assert presentation.by_rules(spec) == "Here are 3 pictures: a cat, in the flat style, without hat."
    assert presentation.alt_text(spec, 0) == "a cat (flat)"


def test_a_style_chosen_by_the_seed_is_named_where_all_pictures_have_it(catalogue: Catalogue):
    card, spec = catalogue.resolve(JobRequest(description="a cat", seed=2))
    assert presentation.by_rules(spec) == f"Here is your picture: a cat, in the {card.styles_by_seed[2]} style."
    several = spec.model_copy(update={"n": 3})
    assert presentation.by_rules(several) == "Here are 3 pictures: a cat."
    assert [presentation.alt_text(several, seed) for seed in (2, 3)] == ["a cat (flat)", "a cat (3d)"]


@pytest.mark.parametrize(
    ("text", "n", "size", "chars"),
    [
        ("20 pictures of a cat, 512x512", "20", "512×512", 0),
        ("zwanzig Bilder von einer Katze, 512x512", "20", "512×512", 0),
        ("veinte imágenes de un gato, 512x512", "20", "512×512", 0),
        ("vingt images d'un chat, 512x512", "20", "512×512", 0),
        ("vinte imagens de um gato, 512x512", "20", "512×512", 0),
        ("venti immagini di un gatto, 512x512", "20", "512×512", 0),
        ("twintig plaatjes van een kat, 512x512", "20", "512×512", 0),
        ("двадцать картинок с котом, 512x512", "20", "512×512", 0),
        ("二十张猫的图片，512x512", "20", "512×512", 0),
        ("猫の絵を二十枚、512x512", "20", "512×512", 0),
        ("고양이 그림 스무 장, 512x512", "20", "512×512", 0),
        ("a cat on a roof " * 60, "", "", 500),
    ],
)
def test_what_was_cut_to_the_models_limits_is_told_in_every_language(
    catalogue: Catalogue, text: str, n: str, size: str, chars: int
):
    card, spec = catalogue.resolve(JobRequest(description=text))
    [found] = Interpreter()([Request(spec, card)])
    fitted = card.fit(spec, found.conditions)
    told = presentation.by_rules(fitted)
    phrases = BY_CODE[presentation.language_for(fitted)].phrases
    wanted = [phrases.shorter.format(n=chars)] if chars else []
    if n:
        wanted.append(phrases.fewer.format(asked=n, n=card.max_images))
        wanted.append(phrases.other_size.format(asked=size, size="256×256"))
    assert all(sentence in told for sentence in wanted)
    assert len(told) < presentation.MAX_CHARS
    assert presentation.by_rules(card.fit(spec, Conditions(prompt="a cat", n=2))).count(".") <= 1


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("draw a purple cat", "The model does not know all of “a purple cat”"),
        ("zeichne eine lila Katze", "kennt das Modell nicht"),
        ("dibuja un gato morado con sombrero", "no conoce todo"),
        ("dessine un chat violet et une table", "ne connaît pas tout"),
        ("нарисуй фиолетового кота", "знает не всё"),
        ("画一只紫色的猫", "模型不认识"),
        ("紫の猫を描いて", "すべてを知りません"),
        ("보라색 고양이를 그려 줘", "알지는 못합니다"),
    ],
)
def test_a_picture_that_shows_less_than_requested_is_presented_as_what_it_shows(
    catalogue: Catalogue, text: str, own: str
):
    _, spec = catalogue.resolve(JobRequest(description=text))
    spec = spec.model_copy(update={"prompt": "a purple cat", "styles": (), "dropped_negative": "hat"})
    before = presentation.by_rules(spec.model_copy(update={"dropped_negative": ""}))
    told = presentation.by_rules(spec, drawn_as="CAT")
    assert "CAT" in told
    assert own in told
    assert "hat" in told
    assert told.count("a purple cat") == 1, "only where it says what the model does not know"
    assert "a purple cat" in before
    assert own not in before
    assert presentation.alt_text(spec, spec.seed, "CAT") == "CAT"


def test_a_server_gets_what_was_omitted_and_what_could_not_be(catalogue: Catalogue):
    _, spec = catalogue.resolve(JobRequest(description="a purple cat without a hat"))
    spec = spec.model_copy(update={"dropped_negative": "hat"})
    with fake_llm(lambda _: {"content": "A cat."}) as server:
        presentation.by_server(ChatClient(server.url, "m"), spec, drawn_as="cat")
    facts = server.asked[0]["messages"][1]["content"]
    assert "drawn as: cat" in facts
    assert "could not be left out: hat" in facts


def test_a_long_prompt_is_quoted_in_part_so_that_the_presentation_is_complete(catalogue: Catalogue):
    _, spec = catalogue.resolve(JobRequest(prompt="a cat " * 80))
    told = presentation.by_rules(spec, drawn_as="cat")
    assert told.endswith("it drew this, and left out the rest.")
    assert len(told) < presentation.MAX_CHARS


def test_a_presentation_has_no_characters_that_a_database_refuses(catalogue: Catalogue):
    _, spec = catalogue.resolve(JobRequest(description="a \x00cat"))
    assert spec.description == "a  cat"
    with fake_llm(lambda _: {"content": "Your\x00cat \ud83d!"}) as server:
        assert presentation.by_server(ChatClient(server.url, "m"), spec) == "Your cat !"


def test_a_servers_presentation_has_a_length_limit(catalogue: Catalogue):
    _, spec = catalogue.resolve(JobRequest(description="a cat"))
    with fake_llm(lambda _: {"content": " Here is your cat! "}) as server:
        assert presentation.by_server(ChatClient(server.url, "m"), spec) == "Here is your cat!"
    with (
        fake_llm(lambda _: {"content": "meow " * 500}) as server,
        pytest.raises(LanguageError, match="too long"),
    ):
        presentation.by_server(ChatClient(server.url, "m"), spec)


def test_the_last_message_of_a_recognizable_language_decides_the_language(catalogue: Catalogue):
    assert presentation.language_of("ein Geist ohne Augen", "请画一个红苹果") == "de"
    assert presentation.language_of("3d", "请画一个红苹果") == "zh"
    assert presentation.language_of("3d") == "en"
