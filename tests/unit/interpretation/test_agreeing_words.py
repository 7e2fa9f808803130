"""Words around a thing that agree with it, or go with it."""

from __future__ import annotations

import pytest

from limner_worker.stages.interpretation.refining.removing import removed

from .follow_ups import wished


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        (
            "une chouette perchée sur des livres",
            "à la place de la {old:chouette} {new:un corbeau}, svp",
            "un corbeau perché sur des livres",
        ),
        (
            "una lasagna appena sfornata sul tavolo",
            "ci vorrebbe {new:un panettone} al posto della {old:lasagna}",
            "un panettone appena sfornato sul tavolo",
        ),
        (
            "une licorne qui joue au foot",
            "{new:un pingouin} à la place de la {old:licorne}",
            "un pingouin qui joue au foot",
        ),
        ("une tarte aux pommes", "plutôt {new:des poires} que des {old:pommes}", "une tarte aux poires"),
        (
            "a desk with a coffee mug",
            "swap the {old:coffee mug} for {new:instant noodles} lol",
            "a desk with instant noodles",
        ),
        (
            "a boy jumping over a trash can",
            "swap the {old:trash can} for {new:a shopping cart}",
            "a boy jumping over a shopping cart",
        ),
        (
            "une villa au toit de tuiles",
            "{new:Un toit de zinc} plutôt que de {old:tuiles}",
            "une villa au toit de zinc",
        ),
        (
            "テーブルの上のいちごケーキ",
            "{old:いちご}じゃなくて{new:メロンのケーキ}にして",
            "テーブルの上のメロンのケーキ",
        ),
    ],
)
def test_a_thing_that_takes_the_place_of_another_fits_its_sentence(before: str, message: str, prompt: str) -> None:
    assert wished(before, message).prompt == prompt


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        (
            "ein Roboter mit silbernen Flügeln",
            "mach die {old:Flügel} bitte {quality:golden}",
            "ein Roboter mit goldenen Flügeln",
        ),
        (
            "un zorro con bufanda verde en el bosque",
            "la {old:bufanda} mejor {quality:morada}, y ya",
            "un zorro con bufanda morada en el bosque",
        ),
        (
            "un bouquet de pivoines roses",
            "les {old:pivoines} pourraient être {quality:blanches} ?",
            "un bouquet de pivoines blanches",
        ),
        ("una siepe di rose gialle", "le {old:rose} però le vorrei {quality:rosse}", "una siepe di rose rosse"),
        (
            "una bailaora con vestido blanco",
            "ponle el {old:vestido} {quality:negro}, porfa",
            "una bailaora con vestido negro",
        ),
        (
            "un renard en sweat à capuche noir",
            "fais le {old:sweat} {quality:en vert fluo} stp",
            "un renard en sweat à capuche vert fluo",
        ),
        (
            "una poltrona di velluto rosso nel salotto",
            "la {old:poltrona} la vedrei {quality:di velluto verde}",
            "una poltrona di velluto verde nel salotto",
        ),
        (
            "a chair of pine on a porch",
            "do it in {quality:walnut} instead of {old:pine} tho",
            "a chair of walnut on a porch",
        ),
        ("букет в стеклянной банке", "только {old:банку} лучше {quality:керамическую}", "букет в керамической банке"),
        ("балерина в белом платье", "только {old:платье} пусть будет {quality:алое})", "балерина в алом платье"),
        (
            "een bruin politiepaard in de straat",
            "dat {old:paard} mag {quality:zwart}, hoor",
            "een zwart politiepaard in de straat",
        ),
        (
            "a red double-decker bus on a road",
            "can you make the {old:bus} {quality:dark green}?",
            "a dark green double-decker bus on a road",
        ),
        ("一辆黑色公路车停在海边", "{old:车子}改成{quality:橙色}，谢谢", "一辆橙色公路车停在海边"),
        ("um robô vermelho na neve", "o {old:robo} podia ser {quality:azul}", "um robô azul na neve"),
        (
            "una bicicleta roja en un árbol",
            "y si la {old:bici} fuera {quality:verde}?",
            "una bicicleta verde en un árbol",
        ),
        ("一把红色雨伞立在舞台", "{old:伞}要{quality:白色}，谢谢", "一把白色雨伞立在舞台"),
        ("一辆白色面包车停在门口", "把{old:面包车}改成{quality:银色的}", "一辆银色面包车停在门口"),
        ("田舎道を走る赤いバス", "{old:バス}を{quality:クリーム色}にしてもらえますか", "田舎道を走るクリーム色のバス"),
        ("앞에 세워진 파란 트럭", "{old:트럭} {quality:빨간 걸}로 바꿔줘요", "앞에 세워진 빨간 트럭"),
    ],
)
def test_a_quality_has_the_form_and_the_place_of_the_one_that_it_replaces(
    before: str, message: str, prompt: str
) -> None:
    assert wished(before, message).prompt == prompt


@pytest.mark.parametrize(
    ("prompt", "thing", "rest"),
    [
        ("an old library with ladders and a sleeping cat", "cat", "an old library with ladders"),
        ("a girl holding a balloon in a park", "balloon", "a girl in a park"),
        ("书桌上的台灯、闹钟和一盆绿萝", "闹钟", "书桌上的台灯和一盆绿萝"),
        ("大桥上的一列火车和江边的渔船", "渔船", "大桥上的一列火车"),
        ("一件青花瓷瓶摆在木架上", "木架", "一件青花瓷瓶"),
        ("馬に乗った武将と旗を持つ足軽", "足軽", "馬に乗った武将"),
        ("하얀 구두와 진주 목걸이", "목걸이", "하얀 구두"),
        ("девушка с каре и серьгами у окна", "серьги", "девушка с каре у окна"),
        ("uma feijoada com laranja e couve num prato", "laranja", "uma feijoada com couve num prato"),
        ("un gato pirata con un loro en el hombro", "loro", "un gato pirata"),
    ],
)
def test_what_describes_a_thing_goes_with_it(prompt: str, thing: str, rest: str) -> None:
    assert removed(prompt, thing) == rest


def test_a_thing_that_goes_takes_no_sentence_of_the_message_with_it() -> None:
    found = wished("uma mesa com duas cadeiras na varanda", "tira as {gone:cadeiras} por favor, eu só vendo a mesa")
    assert (found.prompt, found.negative_prompt) == ("uma mesa na varanda", "cadeiras")


def test_a_fault_before_another_try_is_not_left_out() -> None:
    found = wished("una conferenza in una sala", "nessuna delle due va bene, {again:riprova} per cortesia", pictures=2)
    assert (found.negative_prompt, found.seed) == ("", None)
