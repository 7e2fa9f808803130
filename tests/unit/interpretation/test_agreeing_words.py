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


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        (
            "un sillón antiguo junto a una chimenea",
            "una {old:sillón} no, {new:una mecedora}",
            "una mecedora antigua junto a una chimenea",
        ),
        (
            "una capilla blanca con tejado gris",
            "el {old:tejado}, prefiero {quality:rojo}",
            "una capilla blanca con tejado rojo",
        ),
        (
            "um barco de pesca azul na praia",
            "o {old:barco} podia ser {quality:vermelho}",
            "um barco de pesca vermelho na praia",
        ),
        ("une guerrière en armure dorée", "mais l'{old:armure} en {quality:noir}", "une guerrière en armure noire"),
        ("рыцарь в серебряных доспехах", "но {old:доспехи} сделай {quality:чёрные}", "рыцарь в чёрных доспехах"),
        (
            "ein alter Traktor auf einem Weg",
            "den {old:Traktor} in {quality:knallgrün}",
            "ein alter knallgrüner Traktor auf einem Weg",
        ),
        (
            "eine Gasse mit Häusern",
            "zeig die {old:Gasse} mal {quality:verschneit}",
            "eine verschneite Gasse mit Häusern",
        ),
        ("een houten roeiboot", "kan de {old:roeiboot} ook {quality:blauw}?", "een blauwe houten roeiboot"),
        ("een bestelbus voor een huis", "{old:bus} moet {quality:wit} zijn", "een witte bestelbus voor een huis"),
        ("een houten huis aan zee", "maak het {old:huis} {quality:rood}", "een rood houten huis aan zee"),
        ("一辆红色的小火车", "{old:火车}要{quality:黄色}", "一辆黄色的小火车"),
        ("女剑客拿着红伞", "{old:伞}要{quality:黑}的", "女剑客拿着黑伞"),
        ("赤い傘を差した女性", "{old:傘}は{quality:透明}に変えて", "透明な傘を差した女性"),
        ("아이와 파란 대문", "{old:대문}을 {quality:갈색}으로 바꿔 주세요", "아이와 갈색 대문"),
        (
            "une vitrine remplie de croissants",
            "remplacez les {old:croissants} par {new:des éclairs}",
            "une vitrine remplie d'éclairs",
        ),
        ("un piatto di spaghetti", "al posto degli {old:spaghetti} ci vanno {new:gli gnocchi}", "un piatto di gnocchi"),
        ("旁边有一个水桶", "{old:水桶}换成{new:一只小猫}吧", "旁边有一只小猫"),
        ("연못 위의 잠자리", "{old:잠자리} 대신 {new:소금쟁이}로 해 주세요", "연못 위의 소금쟁이"),
    ],
)
def test_words_have_the_form_that_their_thing_asks_for(before: str, message: str, prompt: str) -> None:
    assert wished(before, message).prompt == prompt


@pytest.mark.parametrize(
    ("prompt", "thing", "rest"),
    [
        ("una fontana barocca con turisti rumorosi", "turisti", "una fontana barocca"),
        ("un gato con botas sentado en una silla", "botas", "un gato sentado en una silla"),
        ("um martelo sobre livros com um relógio ao lado", "relógio", "um martelo sobre livros"),
        ("een huis met een fiets ervoor", "fiets", "een huis"),
        ("a cat on a windowsill between flowerpots", "flowerpots", "a cat on a windowsill"),
        ("火锅桌上有牛肉、青菜和啤酒", "啤酒", "火锅桌上有牛肉和青菜"),
        ("一碗牛肉面和一碟泡菜放在桌上", "泡菜", "一碗牛肉面放在桌上"),
    ],
)
def test_what_stands_behind_a_thing_and_tells_of_it_goes_too(prompt: str, thing: str, rest: str) -> None:
    assert removed(prompt, thing) == rest


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("ein Traktor auf einem Feld", "mach den {old:Traktor} {quality:blau}", "ein blauer Traktor auf einem Feld"),
        ("ein Boot am Steg", "das {old:Boot} bitte {quality:golden}", "ein goldenes Boot am Steg"),
        (
            "ein paar Äpfel auf dem Tisch",
            "der {old:Tisch} soll {quality:grün} sein",
            "ein paar Äpfel auf dem grünen Tisch",
        ),
    ],
)
def test_the_article_in_a_message_tells_the_gender_of_a_german_noun(before: str, message: str, prompt: str) -> None:
    assert wished(before, message).prompt == prompt
