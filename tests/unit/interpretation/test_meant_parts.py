"""Parts of a message that mean something else for its picture than their roles say."""

from __future__ import annotations

import pytest

from .follow_ups import SEED, wished


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        (
            "an old brass tap over a sink",
            "{old:tap} must be {quality:copper}, not {old:brass}",
            "an old copper tap over a sink",
        ),
        (
            "a glass office tower by a river",
            "make the {old:tower} {quality:brick} rather than {old:glass}",
            "a brick office tower by a river",
        ),
        (
            "un coro in abiti viola",
            "gli {gone:abiti} li vorrei {quality:dorati}, e niente {gone:microfoni}",
            "un coro in abiti dorati",
        ),
    ],
)
def test_a_quality_takes_the_place_of_the_one_that_is_denied(before: str, message: str, prompt: str) -> None:
    assert wished(before, message).prompt == prompt


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("een zeehond met een gele muts", "Die {gone:muts} mag best paars", "een zeehond met een paarse muts"),
        (
            "검은 드레스를 입은 합창단",
            "{old:드레스}는 흰 게 낫겠어요, {look:수채화}로 해주세요",
            "하얀 드레스를 입은 합창단, 수채화",
        ),
        ("踊る青い衣装のサークル", "うちの{old:衣装}って青じゃなくて赤いんですよね", "踊る赤い衣装のサークル"),
        ("一条青色的龙盘在雪山顶上", "{old:龙}的话\uff0c我觉得还是金色的霸气", "一条金色的龙盘在雪山顶上"),
    ],
)
def test_a_thing_gets_the_quality_that_its_message_names(before: str, message: str, prompt: str) -> None:
    found = wished(before, message)
    assert (found.prompt, found.negative_prompt) == (prompt, "")


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        (
            "een stuk kaas met een mes op een plank",
            "het mes oogt eng. Zou dat vervangen kunnen worden {place:door een druiventros}?",
            "een stuk kaas met een druiventros op een plank",
        ),
        (
            "a baker with a tray of croissants",
            "we don't sell {gone:croissants}, put {new:bagels} {added:on the tray}",
            "a baker with a tray of bagels",
        ),
        ("ein Fuchs mit einem Korb", "nur müsste das {old:Tier} {new:ein Hase} sein", "ein Hase mit einem Korb"),
        ("кот за рулём трактора", "пусть вместо {old:кота за рулём} будет {new:ёжик}", "ёжик за рулём трактора"),
    ],
)
def test_something_takes_the_place_of_what_the_message_means(before: str, message: str, prompt: str) -> None:
    found = wished(before, message)
    assert (found.prompt, found.negative_prompt) == (prompt, "")


def test_what_seems_to_go_comes_if_nothing_is_denied() -> None:
    found = wished("лягушка сидит на пне", "{picked:вторую}, но с {gone:зонтиком}", pictures=4)
    assert (found.prompt, found.negative_prompt) == ("лягушка сидит на пне, с зонтиком", "")


def test_what_only_takes_away_is_nothing_new() -> None:
    found = wished(
        "un balcone pieno di gerani e vasi rotti", "quei {gone:vasi rotti} non si possono vedere, {new:levali}"
    )
    assert (found.prompt, found.negative_prompt) == ("un balcone pieno di gerani", "vasi rotti")


def test_a_fault_beside_another_try_leaves_nothing_out() -> None:
    found = wished("um cavaleiro contra um lagarto", "tenta dnv, esse {gone:lagarto} ficou estranho")
    assert (found.prompt, found.negative_prompt, found.seed) == ("um cavaleiro contra um lagarto", "", None)


def test_another_try_is_known_with_a_typing_error() -> None:
    found = wished("a skateboarding raccoon", "nah these r mid, try agian", pictures=2)
    assert (found.prompt, found.n, found.seed) == ("a skateboarding raccoon", 1, None)


def test_an_old_thing_with_a_new_place_stays() -> None:
    found = wished("een oude eik op een landgoed in de zomer", "ik zou de {old:eik} liever {place:in de herfst} zien")
    assert (found.prompt, found.seed) == ("een oude eik op een landgoed in de herfst", SEED)


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("een ridder voor een poort", "laat maar zitten, geef me gewoon {added:een walvis}", "een walvis"),
        ("玉入れをするうさぎ", "絵はもう決まりました。次はかさをさした{added:かたつむり}を", "かたつむり"),
    ],
)
def test_what_drops_the_picture_before_begins_another(before: str, message: str, prompt: str) -> None:
    found = wished(before, message)
    assert (found.prompt, found.seed) == (prompt, None)


@pytest.mark.parametrize(
    ("before", "message", "prompt", "negative"),
    [
        ("书桌上放着台灯和一摞书", "不要{old:台灯}\uff0c加{new:一杯茶}", "书桌上放着一摞书\uff0c一杯茶", "台灯"),
        ("a desk with a lamp and a book", "no {old:lamp}, and add {new:a cup}", "a desk with a book, a cup", "lamp"),
        ("a desk with a lamp and a book", "{new:a cup} instead of the {old:lamp}", "a desk with a cup and a book", ""),
    ],
)
def test_a_thing_goes_and_another_is_added_if_clauses_of_their_own_say_so(
    before: str, message: str, prompt: str, negative: str
) -> None:
    found = wished(before, message)
    assert (found.prompt, found.negative_prompt) == (prompt, negative)


def test_a_thing_that_the_picture_lacks_is_added_whole() -> None:
    found = wished("une marmite sur un fourneau", "Ajoute juste une {old:louche} {added:en cuivre}")
    assert found.prompt == "une marmite sur un fourneau, une louche en cuivre"


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        (
            "un niño montando en una bicicleta roja por un camino",
            "Que sea {new:una niña}, con la {old:bicicleta} {quality:naranja}",
            "una niña montando en una bicicleta naranja por un camino",
        ),
        (
            "a boy with a red bike on a path",
            "make it {new:a girl}, and the {old:bike} {quality:green}",
            "a girl with a green bike on a path",
        ),
    ],
)
def test_the_subject_changes_beside_another_thing(before: str, message: str, prompt: str) -> None:
    assert wished(before, message).prompt == prompt


def test_words_of_the_picture_are_not_said_twice() -> None:
    found = wished("бабушка вяжет носок у окна", "Пусть вместо {old:бабушки} вяжет {new:медведь}.")
    assert found.prompt == "медведь вяжет носок у окна"


def test_a_verb_of_adding_is_no_part_of_a_new_thing() -> None:
    found = wished("una nonna che prepara le tagliatelle", "Al posto delle {old:tagliatelle} {new:mettici gli gnocchi}")
    assert found.prompt == "una nonna che prepara gli gnocchi"
