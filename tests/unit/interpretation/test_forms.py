"""Descriptions that are forms, have hashtags, tell a story first, or take back what they said, in eleven languages."""

from __future__ import annotations

import pytest

from limner_shared.domain.conditions import Conditions
from limner_worker.stages.interpretation.rules import interpret

STYLES = ("3d", "noto", "noto-v1", "flat")
SIZES = ((256, 256), (64, 64), (384, 256), (256, 384))
SQUARE, WIDE, TALL = (256, 256), (384, 256), (256, 384)


def read(text: str) -> Conditions:
    return interpret(text, STYLES, (), SIZES)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("Subject: a walrus\nStyle: 3D\nAspect ratio: 3:2\nNumber: three\nAvoid: text", "a walrus"),
        ("Motiv: ein Walross\nStil: 3D\nFormat: Querformat\nAnzahl: drei\nOhne: text", "ein Walross"),
        ("Sujet : un morse\nStyle : 3D\nFormat : paysage\nNombre : trois\nÀ éviter : text", "un morse"),
        ("Tema: una morsa\nEstilo: 3D\nFormato: horizontal\nNúmero: tres\nEvitar: text", "una morsa"),
        ("Soggetto: un tricheco\nStile: 3D\nFormato: orizzontale\nNumero: tre\nSenza: text", "un tricheco"),
        ("Assunto: uma morsa; Estilo: 3D; Proporção: 16:9; Quantidade: 3; Sem: text", "uma morsa"),
        ("Onderwerp: een walrus\nStijl: 3D\nFormaat: liggend\nAantal: drie\nZonder: text", "een walrus"),
        ("Сюжет: морж\nСтиль: 3D\nФормат: горизонтальный\nКоличество: три\nБез: text", "морж"),
        ("主题：海象\n风格：3D\n比例：16:9\n数量：三\n排除：text", "海象"),
        ("題材：セイウチ\nスタイル：3D\n形式：横長\n枚数：三\n除外：text", "セイウチ"),
        ("주제: 바다코끼리\n스타일: 3D\n비율: 16:9\n수량: 세 장\n제외: text", "바다코끼리"),
    ],
)
def test_a_form_says_all_by_its_keys(text: str, prompt: str):
    found = read(text)
    assert (found.prompt, found.style, found.n, found.negative_prompt) == (prompt, "3d", 3, "text")
    assert (found.width, found.height) == WIDE


@pytest.mark.parametrize(
    ("text", "prompt", "style", "size", "negative"),
    [
        ("a pirate ship #flat #landscape #nopeople", "a pirate ship", "flat", WIDE, "people"),
        ("ein Koala #3d #quadratisch", "ein Koala", "3d", SQUARE, ""),
        ("a turtle with a crown (square, 3d)", "a turtle with a crown", "3d", SQUARE, ""),
        ("クジラ（船なし）フラットスタイルで", "クジラ", "flat", (None, None), "船"),
        ("an otter? the look i'm after is flat", "an otter", "flat", (None, None), ""),
        ("ein Bär, der Stil, den ich suche, ist flach", "ein Bär", "flat", (None, None), ""),
        ("una nutria, el estilo que busco es noto-v1", "una nutria", "noto-v1", (None, None), ""),
        ("une sirène à la verticale et sans poissons", "une sirène", None, TALL, "poissons"),
        ("una ciotola di limoni, in verticale e senza cucchiaio", "una ciotola di limoni", None, TALL, "cucchiaio"),
        ("タコ 図書館 3D 人物なし", "タコ 図書館", "3d", (None, None), "人物"),
        ("Phone wallpaper please: jellyfish over a piano", "jellyfish over a piano", None, TALL, ""),
        ("Handy-Hintergrund bitte: Quallen über einem Klavier", "Quallen über einem Klavier", None, TALL, ""),
        ("Fond d'écran de téléphone svp : des méduses", "des méduses", None, TALL, ""),
        ("スマホの壁紙お願いします：ピアノの上のクラゲ", "ピアノの上のクラゲ", None, TALL, ""),
        ("mi fai un riccio che guida una vespa? in 3d grazie", "un riccio che guida una vespa", "3d", (None, None), ""),
        ("a hedgehog on a vespa! flat please", "a hedgehog on a vespa", "flat", (None, None), ""),
        ("who is this? in 3d glasses", "who is this? in 3d glasses", None, (None, None), ""),
        ("水彩画 窓辺の金魚鉢と風鈴 正方形", "水彩画 窓辺の金魚鉢と風鈴", None, SQUARE, ""),
        ("빨간 정사각형", "빨간 정사각형", None, (None, None), ""),
        ("红色 正方形", "红色 正方形", None, (None, None), ""),
    ],
)
def test_conditions_stand_in_tags_brackets_and_clauses(
    text: str, prompt: str, style: str | None, size: tuple[int | None, int | None], negative: str
):
    found = read(text)
    assert (found.prompt, found.style, (found.width, found.height)) == (prompt, style, size)
    assert found.negative_prompt == negative


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("@limner a snail on a mushroom please", "a snail on a mushroom"),
        ("hey bot, a robot watering plants", "a robot watering plants"),
        ("a cat, no wait, a dog on a sofa", "a dog on a sofa"),
        ("eine Katze, nein warte, ein Hund", "ein Hund"),
        ("un gatto, no aspetta, un cane", "un cane"),
        ("一只猫，不对，一只狗", "一只狗"),
        ("My daughter turns five and loves unicorns, so could you make a unicorn for her?", "a unicorn"),
        ("Ma fille fête ses cinq ans et adore les licornes, pourrais-tu dessiner une licorne ?", "une licorne"),
        ("Minha filha faz cinco anos e adora unicórnios, você poderia desenhar um unicórnio?", "um unicórnio"),
        ("我女儿五岁生日，特别喜欢独角兽，能不能画一只独角兽？", "一只独角兽"),
        ("Not sure if you can do this, but I'd love a penguin", "a penguin"),
        ("ob du mir wohl einen Igel machen könntest?", "einen Igel"),
        ("а реально получить рисунок выдры?", "выдры"),
        ("a cat, no collar", "a cat"),
        ("4 images svp dun dragon qui lit", "un dragon qui lit"),
        ("忍者のハムスターを二枚おねがいしまs", "忍者のハムスター"),
        ("在吗？帮我弄三张熊猫打太极的图呗，要3D的", "熊猫打太极"),
        ("Zou u een afbeelding willen maken van een poes", "een poes"),
        ("holaa, me haces 3 imágenes de un perezoso porfa? en estilo plano", "un perezoso"),
        ("안녕하세요~ 떡볶이 먹는 너구리", "떡볶이 먹는 너구리"),
        ("une dune", "une dune"),
        ("Um castelo numa colina, não quero bandeiras", "Um castelo numa colina"),
        ("a man saying no, wait, a train is coming", "a man saying no, wait, a train is coming"),
        (
            "mon chat sur le canapé, s'il te plaît avec un coussin",
            "mon chat sur le canapé, s'il te plaît avec un coussin",
        ),
        ("猫（黑色）坐在椅子上", "猫(黑色)坐在椅子上"),
        ("I want a dog, could you make it a big one", "a dog, could you make it a big one"),
    ],
)
def test_what_is_told_before_or_taken_back_is_not_drawn(text: str, prompt: str):
    assert read(text).prompt == prompt


@pytest.mark.parametrize(
    ("text", "prompt", "n", "negative"),
    [
        (
            "Client: Harbour & Sons\nMotif: rusty anchor\nMedium: linocut\nFormat: landscape",
            "rusty anchor, linocut",
            None,
            "",
        ),
        (
            "Auftrag: Buchcover\nMotiv: leerer Bahnsteig\nTechnik: Aquarell\nNicht zeigen: Züge",
            "leerer Bahnsteig, Aquarell",
            None,
            "Züge",
        ),
        ("- Escena: mercado medieval\n- Técnica: óleo\n- Evitar: caballos", "mercado medieval, óleo", None, "caballos"),
        (
            "* onderwerp: schaatsers\n* techniek: houtskool\n* aantal: 4\n* niet: molens",
            "schaatsers, houtskool",
            4,
            "molens",
        ),
        ("Сюжет: усадьба в снегу. Техника: масло. Формат: вертикальный", "усадьба в снегу, масло", None, ""),
        (
            "【需求】绘本内页\n【内容】小刺猬找苹果\n【画材】彩铅\n【数量】5张\n【不要】人物",
            "小刺猬找苹果, 彩铅",
            5,
            "人物",
        ),
        ("■企画：小説の表紙\n■内容：浮島の図書館\n■画材：水彩\n■NG：人物", "浮島の図書館, 水彩", None, "人物"),
        ("[의뢰]\n주제: 폐역\n기법: 유화\n제외: 사람", "폐역, 유화", None, "사람"),
    ],
)
def test_a_brief_has_bullets_a_medium_and_what_is_not_drawn(
    text: str, prompt: str, n: int | None, negative: str
) -> None:
    found = read(text)
    assert (found.prompt, found.n, found.negative_prompt) == (prompt, n, negative)


def test_what_a_brief_is_about_is_drawn_if_it_names_no_subject() -> None:
    assert read("Auftrag: ein Fuchs\nFormat: hoch").prompt == "ein Fuchs"


@pytest.mark.parametrize(
    ("text", "prompt", "n"),
    [
        ("two woodcuts of a heron", "woodcut of a heron", 2),
        ("drei Linolschnitte von einem Hahn", "Linolschnitt von einem Hahn", 3),
        ("deux gravures d'un phare", "gravure d'un phare", 2),
        ("cuatro acuarelas de un olivar", "acuarela de un olivar", 4),
        ("due acqueforti di un ponte", "acquaforte di un ponte", 2),
        ("três xilogravuras de um galo", "xilogravura de um galo", 3),
        ("vier etsen van een woonboot", "ets van een woonboot", 4),
        ("три гравюры с мельницей", "гравюра с мельницей", 3),
        ("富士山の浮世絵を2枚", "富士山の浮世絵", 2),
        ("dai fammene 3 di un piccione", "un piccione", 3),
    ],
)
def test_several_pictures_of_a_medium_are_counted_and_keep_it(text: str, prompt: str, n: int) -> None:
    found = read(text)
    assert (found.prompt, found.n) == (prompt, n)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("un piccione sul motorino ahah", "un piccione sul motorino"),
        ("치킨 먹는 공룡 ㄱㄱ", "치킨 먹는 공룡"),
        ("une pyramide, style bande dessinée", "une pyramide, style bande dessinée"),
        ("een gloeilamp met een plantje erin", "een gloeilamp met een plantje erin"),
    ],
)
def test_laughter_goes_and_words_like_those_of_asking_are_not_respelled(text: str, prompt: str) -> None:
    assert read(text).prompt == prompt
