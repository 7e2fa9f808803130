"""Words beside a number, a style or a size belong to it and not to the subject, in eleven languages."""

from __future__ import annotations

from typing import Any

import pytest

from limner_worker.stages.interpretation.rules import interpret

from .follow_ups import wished

STYLES = ("3d", "noto", "noto-v1", "flat")
SIZES = ((256, 256), (64, 64), (384, 256), (256, 384))


@pytest.mark.parametrize(
    ("text", "prompt", "n"),
    [
        ("a trio of drawings of an otter", "an otter", 3),
        ("circa five pictures of an otter", "an otter", 5),
        ("just one tiny icon of a plane", "tiny icon of a plane", 1),
        ("ein Trio von Bildern von einem Otter", "einem Otter", 3),
        ("so um die fünf Bilder von einem Otter", "einem Otter", 5),
        ("un trio d'images d'une loutre", "une loutre", 3),
        ("approximativement cinq images d'une loutre", "une loutre", 5),
        ("un trío de imágenes de una nutria", "una nutria", 3),
        ("aproximadamente cinco imágenes de una nutria", "una nutria", 5),
        ("un trio di immagini di una lontra", "una lontra", 3),
        ("all'incirca cinque immagini di una lontra", "una lontra", 5),
        ("um trio de imagens de uma lontra", "uma lontra", 3),
        ("aproximadamente cinco imagens de uma lontra", "uma lontra", 5),
        ("só uma imagem: lontra lendo jornal", "lontra lendo jornal", 1),
        ("een drietal plaatjes van een otter", "een otter", 3),
        ("een stuk of vijf plaatjes van een otter", "een otter", 5),
        ("kun je drie tekeningen maken van een otter", "een otter", 3),
        ("парочку картинок с выдрой", "выдрой", 2),
        ("штук пять картинок с выдрой", "выдрой", 5),
        ("半打水獭滑板的图", "水獭滑板", 6),
        ("大概五张水獭的图", "水獭", 5),
        ("カワウソの絵を五枚くらい", "カワウソ", 5),
        ("傘をさすロボットをひとつ", "傘をさすロボット", 1),
        ("수달 그림 두어 장", "수달", 2),
        ("수달 그림 다섯 장쯤", "수달", 5),
        ("찻주전자 아이콘 하나", "찻주전자 아이콘", 1),
    ],
)
def test_a_number_is_read_with_the_words_beside_it(text: str, prompt: str, n: int):
    found = interpret(text, STYLES, (), SIZES)
    assert (found.prompt, found.n) == (prompt, n)


@pytest.mark.parametrize(
    ("text", "prompt", "style"),
    [
        ("a fox with a drum, rendered 3d", "a fox with a drum", "3d"),
        ("a fox with a drum, done in flat", "a fox with a drum", "flat"),
        ("ein Fuchs mit Trommel, gerendert in 3d", "ein Fuchs mit Trommel", "3d"),
        ("ein Fuchs mit Trommel in 3d-Optik", "ein Fuchs mit Trommel", "3d"),
        ("un renard au tambour, réalisé en 3d", "un renard au tambour", "3d"),
        ("un renard au tambour avec un effet 3d", "un renard au tambour", "3d"),
        ("un zorro con tambor, hecho en 3d", "un zorro con tambor", "3d"),
        ("un zorro con tambor con aspecto 3d", "un zorro con tambor", "3d"),
        ("una volpe con tamburo, resa in 3d", "una volpe con tamburo", "3d"),
        ("una volpe con tamburo con effetto 3d", "una volpe con tamburo", "3d"),
        ("uma raposa com tambor, feita em 3d", "uma raposa com tambor", "3d"),
        ("uma raposa com tambor com efeito 3d", "uma raposa com tambor", "3d"),
        ("een vos met trommel, uitgevoerd in 3d", "een vos met trommel", "3d"),
        ("een vos met trommel met 3d-uitstraling", "een vos met trommel", "3d"),
        ("лиса с барабаном, сделано в 3d", "лиса с барабаном", "3d"),
        ("лиса с барабаном с 3d эффектом", "лиса с барабаном", "3d"),
        ("狐狸打鼓，要立体3d的感觉", "狐狸打鼓", "3d"),
        ("扁平风格的感觉：狐狸打鼓", "狐狸打鼓", "flat"),
        ("3dっぽい感じで、太鼓をたたくキツネ", "太鼓をたたくキツネ", "3d"),
        ("太鼓をたたいているところを3dで", "太鼓をたたいている", "3d"),
        ("플랫한 느낌으로 북 치는 여우", "북 치는 여우", "flat"),
        ("a girl in a hand drawn hat", "a girl in a hand drawn hat", None),
        ("a cake made in a kitchen", "a cake made in a kitchen", None),
    ],
)
def test_a_style_is_read_with_the_words_beside_it(text: str, prompt: str, style: str | None):
    found = interpret(text, STYLES, (), SIZES)
    assert (found.prompt, found.style) == (prompt, style)


@pytest.mark.parametrize(
    ("text", "prompt", "asked"),
    [
        ("two pictures of a fox, 64x64 each", "a fox", {"n": 2, "width": 64}),
        ("un vieux voilier, en hauteur, 256x384", "un vieux voilier", {"width": 256, "height": 384}),
        ("una casa vieja con sombrero, a lo ancho", "una casa vieja con sombrero", {"width": 384}),
        (
            "Leuchtturm bei Sturm, aber ohne Möwen und bitte im Hochformat",
            "Leuchtturm bei Sturm",
            {"negative_prompt": "Möwen"},
        ),
        ("ein Schneemann, den Besen lass bitte weg", "ein Schneemann", {"negative_prompt": "Besen"}),
        ("정사각형으로 신문 읽는 여우", "신문 읽는 여우", {"width": 256, "height": 256}),
        ("오두막인데 굴뚝은 빼 줘", "오두막", {"negative_prompt": "굴뚝"}),
        ("a landscape painting of a lake, 256x384", "a landscape painting of a lake", {"width": 256}),
    ],
)
def test_words_beside_a_size_or_a_thing_to_leave_out_are_not_drawn(text: str, prompt: str, asked: dict[str, Any]):
    found = interpret(text, STYLES, (), SIZES)
    assert found.prompt == prompt
    assert {name: getattr(found, name) for name in asked} == asked


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("石拱桥", "我觉得桥下应该有{added:一条乌篷船}。", "石拱桥\uff0c桥下有一条乌篷船"),
        ("крыши с голубями", "Пусть только на {added:трубе сидит ворона}", "крыши с голубями, на трубе сидит ворона"),
    ],
)
def test_a_thing_that_is_added_has_its_place(before: str, message: str, prompt: str) -> None:
    assert wished(before, message).prompt == prompt


def test_what_counts_a_subject_may_stand_before_a_clause_about_it() -> None:
    found = wished("一辆火车穿过麦田", "接下来给我两张会做{subject:饭的章鱼}")
    assert (found.prompt, found.n) == ("会做饭的章鱼", 2)
