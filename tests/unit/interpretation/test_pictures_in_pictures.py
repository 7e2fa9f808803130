"""Pictures that a picture shows are no number of pictures to draw, and a use may say the shape of a picture."""

from __future__ import annotations

import pytest

from limner_worker.stages.interpretation.rules import interpret

SIZES = ((256, 256), (384, 256), (256, 384))
WIDE, TALL = (384, 256), (256, 384)


@pytest.mark.parametrize(
    "text",
    [
        "three photos pinned on a fridge",
        "two drawings hang over a bed",
        "zwei Zeichnungen hängen über dem Bett",
        "deux dessins accrochés au frigo",
        "dos dibujos colgados en la nevera",
        "due disegni appesi al frigo",
        "dois desenhos pendurados na geladeira",
        "twee tekeningen hangen aan de koelkast",
        "два рисунка висят на холодильнике",
        "两幅画挂在冰箱上",
        "三枚の写真が床に散らばっている",
        "사진 두 장이 붙어 있는 문",
    ],
)
def test_pictures_that_hang_or_lie_somewhere_are_drawn(text: str) -> None:
    found = interpret(text, (), sizes=SIZES)
    assert (found.prompt, found.n) == (text, None)


@pytest.mark.parametrize(
    ("text", "prompt", "n"),
    [
        ("three photos of a fridge", "photo of a fridge", 3),
        ("两幅冰箱的画", "冰箱", 2),
        ("冷蔵庫の写真を三枚", "冷蔵庫の写真", 3),
        ("two drafts of a fridge", "a fridge", 2),
        ("due bozze di un frigo", "un frigo", 2),
        ("twee ontwerpen van een koelkast", "een koelkast", 2),
        ("j'en voudrais cinq : un frigo", "un frigo", 5),
        ("빨간 냉장고를 다섯 가지로", "빨간 냉장고", 5),
    ],
)
def test_a_number_of_pictures_of_a_thing_is_asked_for(text: str, prompt: str, n: int) -> None:
    found = interpret(text, (), sizes=SIZES)
    assert (found.prompt, found.n) == (prompt, n)


@pytest.mark.parametrize(
    ("text", "prompt", "size"),
    [
        ("wide banner pls: geese over a lake", "geese over a lake", WIDE),
        ("a banner for my bakery with three geese", "three geese", WIDE),
        ("ein Banner für meine Bäckerei mit drei Gänsen", "drei Gänsen", WIDE),
        ("un bandeau pour mon site avec trois oies", "trois oies", WIDE),
        ("un banner para mi panadería con tres gansos", "tres gansos", WIDE),
        ("un banner per il mio forno con tre oche", "tre oche", WIDE),
        ("um banner para a minha padaria com três gansos", "três gansos", WIDE),
        ("een banner voor mijn bakkerij met drie ganzen", "drie ganzen", WIDE),
        ("a phone wallpaper with a goose", "a goose", TALL),
        ("ein Handyhintergrund mit Gänsen", "Gänsen", TALL),
        ("een telefoonachtergrond: een gans", "een gans", TALL),
    ],
)
def test_a_banner_is_wide_and_a_wallpaper_of_a_phone_upright(text: str, prompt: str, size: tuple[int, int]) -> None:
    found = interpret(text, (), sizes=SIZES)
    assert (found.prompt, (found.width, found.height)) == (prompt, size)


def test_a_banner_that_hangs_somewhere_is_drawn() -> None:
    found = interpret("a banner hanging between two houses", (), sizes=SIZES)
    assert (found.prompt, found.width) == ("a banner hanging between two houses", None)
