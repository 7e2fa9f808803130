"""Presentations: in the language of the description, and true to what was drawn."""

from __future__ import annotations

import pytest
from tests.fake_llm import fake_llm
from tests.unit.interpretation.interpreters import request

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.conditions import Conditions, Turn
from limner_shared.domain.jobs import JobRequest
from limner_worker.stages.interpretation.chat_client import ChatClient, LanguageError
from limner_worker.stages.interpretation.interpreter import Interpreter, Request
from limner_worker.stages.interpretation.language.detection import language_or_fallback
from limner_worker.stages.interpretation.language.files import BY_CODE
from limner_worker.stages.interpretation.presenting import presentation


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
    assert presentation.language_for(spec) == language
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
    assert language_or_fallback(text).code == language


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
        ("a cat on a roof " * 60, "", "", 497),
    ],
)
def test_what_was_cut_to_the_models_limits_is_stated_in_every_language(
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
    told = presentation.by_rules(spec, presentation.Shown(drawn_as="CAT"))
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
        presentation.by_server(ChatClient(server.url, "m"), spec, presentation.Shown(drawn_as="cat"))
    facts = server.asked[0]["messages"][1]["content"]
    assert "drawn as: cat" in facts
    assert "could not be left out: hat" in facts


def test_a_prompt_that_was_read_in_part_is_said_to_be(catalogue: Catalogue):
    _, spec = catalogue.resolve(JobRequest(prompt="eine rote Katze auf dem Sofa"))
    shown = presentation.Shown(read_chars=17)
    assert "Nur die ersten 17 Zeichen des Textes wurden verwendet." in presentation.by_rules(spec, shown, "de")
    with fake_llm(lambda _: {"content": "A cat."}) as server:
        presentation.by_server(ChatClient(server.url, "m"), spec, shown)
    assert "limits: Only the first 17 characters" in server.asked[0]["messages"][1]["content"]


def test_a_long_prompt_is_quoted_in_part_so_that_the_presentation_is_complete(catalogue: Catalogue):
    _, spec = catalogue.resolve(JobRequest(prompt="a cat " * 80))
    told = presentation.by_rules(spec, presentation.Shown(drawn_as="cat"))
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
    before = Turn(text="请画一个红苹果", conditions=None)
    assert presentation.language_for(request(catalogue, "ein Geist ohne Augen", before).spec) == "de"
    assert presentation.language_for(request(catalogue, "3d", before).spec) == "zh"
    assert presentation.language_for(request(catalogue, "3d").spec) == "en"


@pytest.mark.parametrize(
    ("description", "language"),
    [("un tomate", "es"), ("un taco", "es"), ("un arcobaleno", "it"), ("castello", "it"), ("een hond", "nl")],
)
def test_a_short_text_is_in_the_language_that_the_client_prefers(catalogue: Catalogue, description: str, language: str):
    spec = request(catalogue, description).spec.model_copy(update={"languages": ("sv", language, "en")})
    assert presentation.language_for(spec) == language


@pytest.mark.parametrize(
    ("description", "language"),
    [
        ("ein Hund", "de"),
        ("un chat à vélo", "fr"),
        ("a cat", "en"),
        ("una chica con un sombrero y un perro que corre", "es"),
        ("красное яблоко", "ru"),
    ],
)
def test_a_text_that_tells_its_language_is_in_it_whatever_the_client_prefers(
    catalogue: Catalogue, description: str, language: str
):
    spec = request(catalogue, description).spec.model_copy(update={"languages": ("nl", "pt")})
    assert presentation.language_for(spec) == language


def test_a_short_message_is_in_the_language_of_its_conversation(catalogue: Catalogue):
    before = Turn(text="un gatto con gli occhiali sul divano", conditions=None)
    assert presentation.language_for(request(catalogue, "un taco", before).spec) == "it"


def test_a_name_is_in_a_language_that_has_it(catalogue: Catalogue):
    named = {"woman elf": {"en"}, "arcobaleno": {"it"}, "tomate": {"es", "fr", "pt", "de"}, "taco": {"en", "es", "it"}}
    for description, language in (("woman elf", "en"), ("un arcobaleno", "it"), ("taco", "en")):
        assert presentation.language_for(request(catalogue, description).spec, named) == language
    assert presentation.language_for(request(catalogue, "un taco").spec, named) in ("es", "it")


@pytest.mark.parametrize(
    ("description", "told"),
    [
        ("no cat", "nothing remains to draw"),
        ("keine Katze", "zu zeichnen bleibt nichts"),
        ("без кота", "рисовать нечего"),
        ("不要猫", "没有剩下要画的内容"),
    ],
)
def test_a_description_that_only_leaves_something_out_is_asked_back(
    catalogue: Catalogue, description: str, told: str
) -> None:
    _, spec = catalogue.resolve(JobRequest(description=description))
    assert told in presentation.by_rules(spec)
    assert BY_CODE["en"].phrases.one.split("{")[0] not in presentation.by_rules(spec)
