"""Descriptions written as letters, orders and telegrams, and formal words of leaving out."""

from __future__ import annotations

from typing import Any

import pytest

from limner_worker.stages.interpretation.language.files import BY_CODE
from limner_worker.stages.interpretation.reading.orders import body
from limner_worker.stages.interpretation.rules import interpret

SIZES = ((256, 256), (64, 64), (384, 256), (256, 384))


@pytest.mark.parametrize(
    ("text", "code", "rest"),
    [
        ("a mill by a river.\nKind regards,\nAnn Porter", "en", "a mill by a river."),
        ("eine Mühle am Fluss, hochachtungsvoll, Dr. A. Pohl", "de", "eine Mühle am Fluss,"),
        ("un moulin. Cordialement, Anne", "fr", "un moulin."),
        ("мельница у реки.\nС уважением,\nА. Попов", "ru", "мельница у реки."),
        ("강가의 방앗간. 박민지 드림", "ko", "강가의 방앗간."),
        ("a card with kind regards on it", "en", "a card with kind regards on it"),
        ("Kind regards, Ann", "en", "Kind regards, Ann"),
        ("RED KITE STOP TWO COPIES STOP", "en", "RED KITE. TWO COPIES."),
        ("A BUS STOP", "en", "A BUS STOP"),
        ("ЛЕДОКОЛ ТЧК ДВЕ ШТУКИ ТЧК", "ru", "ЛЕДОКОЛ. ДВЕ ШТУКИ."),
    ],
)
def test_a_letter_ends_before_who_signs_it_and_a_telegram_gets_marks(text: str, code: str, rest: str):
    assert body(text, BY_CODE[code]) == rest


@pytest.mark.parametrize(
    ("text", "prompt", "asked"),
    [
        ("kite over a lake, qty=3, exclude: clouds", "kite over a lake", {"n": 3, "negative_prompt": "clouds"}),
        ("cometa sobre un lago, n=4, excluir: nubes", "cometa sobre un lago", {"n": 4, "negative_prompt": "nubes"}),
        ("湖上的风筝，数量×3，排除：云", "湖上的风筝", {"n": 3, "negative_prompt": "云"}),
        ("湖の凧、×5、人NG", "湖の凧", {"n": 5, "negative_prompt": "人"}),
        ("호수 위의 연, 시안 2개, 구름 제외", "호수 위의 연", {"n": 2, "negative_prompt": "구름"}),
        ("a kite, exposure n=1.4", "a kite, exposure n=1.4", {"n": None}),
        ("square 512 px photo of a kite", "photo of a kite", {"width": 512, "height": 512}),
        ("Symbol: Drachen, 128 px quadratisch", "Symbol: Drachen", {"width": 128, "height": 128}),
        ("RODE VLIEGER. VIJF STUKS.", "RODE VLIEGER", {"n": 5}),
    ],
)
def test_an_order_names_its_conditions_by_keys(text: str, prompt: str, asked: dict[str, Any]):
    found = interpret(text, ("3d",), (), SIZES)
    assert (found.prompt, {name: getattr(found, name) for name in asked}) == (prompt, asked)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("a kite over a lake, only one picture", "a kite over a lake"),
        ("ein Drachen am See, ein Bild reicht", "ein Drachen am See"),
        ("un cerf-volant, une seule image", "un cerf-volant"),
        ("una cometa, basta con una imagen", "una cometa"),
        ("uma pipa no céu, apenas uma imagem", "uma pipa no céu"),
        ("un aquilone rosso, una sola immagine", "un aquilone rosso"),
        ("een vlieger, één plaatje is genoeg", "een vlieger"),
        ("воздушный змей, достаточно одной картинки", "воздушный змей"),
        ("湖上的风筝，一张就够了", "湖上的风筝"),
        ("湖の凧、一枚だけ", "湖の凧"),
        ("호수 위의 연, 한 장이면 충분해요", "호수 위의 연"),
    ],
)
def test_no_more_than_one_picture_may_be_asked_for(text: str, prompt: str):
    found = interpret(text, ("3d",), (), SIZES)
    assert (found.prompt, found.n) == (prompt, 1)


@pytest.mark.parametrize(
    ("text", "prompt", "left_out"),
    [
        ("a kite over a lake. Kindly omit the clouds.", "a kite over a lake", "clouds"),
        ("ein Drachen. Bitte auf Wolken verzichten.", "ein Drachen", "Wolken"),
        ("un cerf-volant. Veuillez ne pas représenter de nuages", "un cerf-volant", "nuages"),
        ("una cometa sobre un lago. Prescinda del barco.", "una cometa sobre un lago", "barco"),
        ("uma pipa no céu, só não bota nuvens", "uma pipa no céu", "nuvens"),
        ("un aquilone; eviti, se possibile, le nuvole", "un aquilone", "nuvole"),
        ("een vlieger, gelieve wolken weg te laten", "een vlieger", "wolken"),
        ("воздушный змей над озером. Облака не изображать.", "воздушный змей над озером", "Облака"),
        ("湖上的风筝，切勿出现云", "湖上的风筝", "云"),
        ("湖上的风筝但是把船去掉好了", "湖上的风筝", "船"),
        ("湖の凧。人は描かないでいただけると幸いです。", "湖の凧", "人"),
        ("호수 위의 연. 구름은 나오지 않게 해 주세요.", "호수 위의 연", "구름"),
    ],
)
def test_formal_words_leave_something_out(text: str, prompt: str, left_out: str):
    found = interpret(text, ("3d",), (), SIZES)
    assert (found.prompt.rstrip("."), found.negative_prompt) == (prompt, left_out)


@pytest.mark.parametrize("text", ["una señal de prohibido aparcar", "uma placa de proibido estacionar"])
def test_a_sign_that_forbids_is_drawn(text: str):
    assert interpret(text, ("3d",), (), SIZES).prompt == text


@pytest.mark.parametrize(
    "text", ["If it's no trouble: a kite", "sem pressa nenhuma, uma pipa", "ein Drachen, wenn's keine Umstände macht"]
)
def test_a_courtesy_leaves_nothing_out(text: str):
    assert interpret(text, ("3d",), (), SIZES).negative_prompt == ""
