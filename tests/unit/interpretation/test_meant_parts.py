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
