"""What is left out with stress ("not a single car"), in English words in other languages, and in polite endings."""

from __future__ import annotations

import pytest

from limner_worker.stages.interpretation.rules import interpret


def read(text: str) -> tuple[str, str]:
    found = interpret(text, ("3d", "flat"))
    return found.prompt, found.negative_prompt


@pytest.mark.parametrize(
    ("text", "prompt", "left_out"),
    [
        ("an empty beach, not a single umbrella", "an empty beach", "umbrella"),
        ("an empty beach without a single umbrella", "an empty beach", "umbrella"),
        ("ein leerer Strand, kein einziger Sonnenschirm", "ein leerer Strand", "Sonnenschirm"),
        ("une plage vide, pas un seul parasol", "une plage vide", "parasol"),
        ("una playa desierta. Ni una sola sombrilla", "una playa desierta", "sombrilla"),
        ("una spiaggia deserta, nemmeno un ombrellone", "una spiaggia deserta", "ombrellone"),
        ("uma praia vazia, nem um único guarda-sol", "uma praia vazia", "guarda-sol"),
        ("een leeg strand, geen enkele parasol", "een leeg strand", "parasol"),
        ("пустой пляж, ни одного зонта", "пустой пляж", "зонта"),
        ("空荡荡的沙滩\uff0c一把伞都不要", "空荡荡的沙滩", "伞"),
        ("静かな浜辺、犬は一匹もいない", "静かな浜辺", "犬"),
        ("조용한 바닷가, 개는 한 마리도 없이", "조용한 바닷가", "개"),
    ],
)
def test_not_a_single_one_leaves_the_thing_out(text: str, prompt: str, left_out: str) -> None:
    assert read(text) == (prompt, left_out)


@pytest.mark.parametrize(
    ("text", "prompt", "left_out"),
    [
        ("ein Karussell im Regen, no people please", "ein Karussell im Regen", "people"),
        ("un carrousel, no text or logos", "un carrousel", "text, logos"),
        ("карусель под дождём, no text pls", "карусель под дождём", "text"),
        ("雨の中のメリーゴーランド、no text", "雨の中のメリーゴーランド", "text"),
        ("雨中的旋转木马 no people", "雨中的旋转木马", "people"),
    ],
)
def test_what_is_left_out_may_be_said_in_english(text: str, prompt: str, left_out: str) -> None:
    assert read(text) == (prompt, left_out)


@pytest.mark.parametrize("text", ["a shirt that says no people", "ein Schild, auf dem no text steht"])
def test_a_sign_keeps_its_english_words(text: str) -> None:
    assert read(text) == (text, "")


@pytest.mark.parametrize(
    ("text", "prompt", "left_out"),
    [
        ("羊の絵をお願いします。柵は描かないでください", "羊", "柵"),
        ("羊の絵、犬と柵は入れないでください", "羊", "犬, 柵"),
        ("양 그림 그려줘. 울타리는 넣지 말아 주세요", "양", "울타리"),
        ("一只羊\uff0c不要栅栏也不要狗", "一只羊", "栅栏, 狗"),
        ("una oveja, nada de vallas ni de perros", "una oveja", "vallas, perros"),
        ("uma ovelha; deixe de fora a cerca", "uma ovelha", "cerca"),
        ("uma ovelha. Não quero ver cercas", "uma ovelha", "cercas"),
        ("овца на лугу. Ограды быть не должно", "овца на лугу", "Ограды"),
        ("een schaap. Hekken hoeven er niet bij, en een hond al helemaal niet", "een schaap", "hond, Hekken"),
    ],
)
def test_a_sentence_of_its_own_leaves_out_and_the_request_before_stays(text: str, prompt: str, left_out: str) -> None:
    assert read(text) == (prompt, left_out)
