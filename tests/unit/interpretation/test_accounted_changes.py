"""Short follow-ups of which every word is accounted for, and messages of several clauses, in eleven languages."""

from __future__ import annotations

import pytest
from tests.unit.interpretation.follow_ups import SEED, changed


@pytest.mark.parametrize(
    ("before", "message", "prompt", "negative"),
    [
        ("a cat with a hat", "I didn't ask for a hat", "a cat", "hat"),
        ("a cat with a hat", "the hat can go", "a cat", "hat"),
        ("eine Katze mit Hut", "den Hut brauche ich nicht", "eine Katze", "Hut"),
        ("un chat avec un chapeau", "le chapeau est de trop", "un chat", "chapeau"),
        ("un gato con un sombrero", "no pedí un sombrero", "un gato", "sombrero"),
        ("un gatto con un cappello", "il cappello non serve", "un gatto", "cappello"),
        ("um gato com um chapéu", "não queria o chapéu", "um gato", "chapéu"),
        ("een kat met een hoed", "kun je de hoed weghalen?", "een kat", "hoed"),
        ("кот в шляпе", "я не просил шляпу", "кот", "шляпу"),
        ("一只戴帽子的猫", "我没要帽子", "一只猫", "帽子"),
        ("帽子をかぶった猫", "帽子は頼んでない", "猫", "帽子"),
        ("모자를 쓴 고양이", "모자는 싫어", "고양이", "모자"),
        ("a pirate and a parrot", "I meant a monkey, not a parrot", "a pirate and a monkey", ""),
        ("ein Pirat und ein Papagei", "kein Papagei, sondern ein Affe", "ein Pirat und ein Affe", ""),
        ("un pirate et un perroquet", "pas un perroquet mais un singe", "un pirate et un singe", ""),
        ("un pirata y un loro", "un loro no, un mono", "un pirata y un mono", ""),
        ("un pirata e un pappagallo", "intendevo una scimmia, non un pappagallo", "un pirata e una scimmia", ""),
        ("um pirata e um papagaio", "não um papagaio, mas um macaco", "um pirata e um macaco", ""),
        ("een piraat en een papegaai", "de papegaai moet een aap zijn", "een piraat en een aap", ""),
        ("пират и попугай", "не попугай, а обезьяна", "пират и обезьяна", ""),
        ("海盗和鹦鹉", "我说的是猴子，不是鹦鹉", "海盗和猴子", ""),
        ("海賊とオウム", "オウムを猿にできますか？", "海賊と猿", ""),
        ("해적과 앵무새", "앵무새가 아니라 원숭이", "해적과 원숭이", ""),
        ("a red car", "I asked for blue", "a blue car", ""),
        ("ein rotes Auto", "ändere die Farbe in blau", "ein blaues Auto", ""),
        ("une maison verte sur une colline", "la maison doit être jaune", "une maison jaune sur une colline", ""),
        ("un coche rojo", "no rojo sino azul", "un coche azul", ""),
        ("una macchina rossa", "la volevo blu", "una macchina blu", ""),
        ("um carro vermelho", "deveria ser azul", "um carro azul", ""),
        ("een rode auto", "blauw in plaats van rood", "een blauwe auto", ""),
        ("зелёный дом на холме", "дом должен быть жёлтым", "жёлтый дом на холме", ""),
        ("一辆红色的汽车", "应该是蓝色的", "一辆蓝色的汽车", ""),
        ("赤い車", "青って言ったんだけど", "青い車", ""),
        ("빨간 자동차", "빨간색 말고 파란색", "파란 자동차", ""),
        ("a red car", "it needs a tree", "a red car, a tree", ""),
        ("ein rotes Auto", "da fehlt noch ein Baum", "ein rotes Auto, ein Baum", ""),
        ("une voiture rouge", "il manque un arbre", "une voiture rouge, un arbre", ""),
        ("un coche rojo", "me gustaría también un árbol", "un coche rojo, un árbol", ""),
        ("una macchina rossa", "ci vorrebbe anche un albero", "una macchina rossa, un albero", ""),
        ("um carro vermelho", "falta uma árvore", "um carro vermelho, uma árvore", ""),
        ("een rode auto", "doe er nog een boom bij", "een rode auto, een boom", ""),
        ("красная машина", "не хватает дерева", "красная машина, дерево", ""),
        ("一辆红色的汽车", "能加一棵树吗？", "一辆红色的汽车，一棵树", ""),
        ("一辆红色的汽车", "加一棵小树", "一辆红色的汽车，一棵小树", ""),
        ("赤い車", "木が足りない", "赤い車，木", ""),
        ("빨간 자동차", "나무도 넣어줘", "빨간 자동차, 나무", ""),
        ("a cat with a hat", "I'd rather have a dog", "a dog with a hat", ""),
        ("a red car", "make it blue and add a tree", "a blue car, a tree", ""),
        ("ein rotes Auto", "mach es blau, und füge einen Baum hinzu", "ein blaues Auto, ein Baum", ""),
    ],
)
def test_all_words_of_a_message_tell_what_it_changes(before: str, message: str, prompt: str, negative: str):
    found = changed(before, message)
    assert (found.prompt, found.negative_prompt, found.seed) == (prompt, negative, SEED)


@pytest.mark.parametrize(
    ("before", "message", "n"),
    [
        ("a cat", "do you have any others?", 1),
        ("a cat", "that's not what I wanted, try again", 1),
        ("eine Katze", "kann ich noch drei haben?", 3),
        ("un chat", "pas mal, montre-m'en une autre", 1),
        ("un gato", "¿me das cuatro más?", 4),
        ("un gatto", "non mi convince, un altro", 1),
        ("um gato", "pode fazer mais três?", 3),
        ("een kat", "niet slecht, laat me er nog een zien", 1),
        ("кот", "так себе, давай ещё", 1),
        ("猫", "思ってたのと違う、もう一回", 1),
        ("一只猫", "还行,再给我看一张", 1),
        ("고양이", "나쁘지 않네, 다른 거 보여줘", 1),
    ],
)
def test_another_picture_is_asked_for_in_any_words(before: str, message: str, n: int):
    found = changed(before, message)
    assert (found.prompt, found.n, found.seed) == (before, n, None)


@pytest.mark.parametrize(
    ("before", "message", "prompt", "negative", "n"),
    [
        ("a red car", "make it blue, three versions please", "a blue car", "", 3),
        ("a cat with a hat", "three variations without the hat", "a cat", "hat", 3),
        ("ein Haus am See", "fünf Varianten davon im Hochformat und ohne Boote", "ein Haus am See", "Boote", 5),
        ("eine Katze mit Hut", "drei Versionen davon ohne Hut", "eine Katze", "Hut", 3),
        ("un phare sur une île", "trois variantes en vertical et sans mouettes", "un phare sur une île", "mouettes", 3),
        ("un faro junto al mar", "tres versiones en vertical y sin gaviotas", "un faro junto al mar", "gaviotas", 3),
        ("un faro sul mare", "tre varianti in verticale e senza gabbiani", "un faro sul mare", "gabbiani", 3),
        ("um farol na costa", "três versões na vertical e sem gaivotas", "um farol na costa", "gaivotas", 3),
        ("een vuurtoren", "drie varianten staand en zonder meeuwen", "een vuurtoren", "meeuwen", 3),
        ("маяк на скале", "сделай четыре версии горизонтально и без людей", "маяк на скале", "людей", 4),
        ("海边的灯塔", "竖版的三个版本，不要海鸥", "海边的灯塔", "海鸥", 3),
        ("海辺の灯台", "縦長で3パターン、カモメはなしで", "海辺の灯台", "カモメ", 3),
        ("바닷가의 등대", "세로로 세 가지 버전, 갈매기는 빼고", "바닷가의 등대", "갈매기", 3),
    ],
)
def test_versions_beside_another_change_are_new_pictures(before: str, message: str, prompt: str, negative: str, n: int):
    found = changed(before, message)
    assert (found.prompt, found.negative_prompt, found.n, found.seed) == (prompt, negative, n, None)


@pytest.mark.parametrize(
    ("before", "message", "place"),
    [
        ("a fox", "number 3 is the best", 2),
        ("ein Fuchs", "Bild 2", 1),
        ("un renard", "la 2e", 1),
        ("un zorro", "la imagen 2", 1),
        ("лиса", "номер 3 лучший", 2),
        ("キツネ", "2枚目でお願いします", 1),
    ],
)
def test_one_of_several_pictures_is_named_in_any_words(before: str, message: str, place: int):
    found = changed(before, message, pictures=4)
    assert (found.prompt, found.n, found.seed) == (before, 1, SEED + place)


@pytest.mark.parametrize(
    ("message", "style", "size"),
    [
        ("change the style to flat", "flat", (None, None)),
        ("im flachen Stil und quadratisch", "flat", (256, 256)),
        ("carrée s'il te plaît", None, (256, 256)),
        ("puoi metterla in verticale?", None, (256, 384)),
        ("en estilo plano y cuadrado", "flat", (256, 256)),
        ("verander de stijl naar vlak", "flat", (None, None)),
        ("в плоском стиле и квадратно", "flat", (256, 256)),
    ],
)
def test_how_it_is_drawn_changes_nothing_else(message: str, style: str | None, size: tuple[int | None, int | None]):
    found = changed("a cat", message)
    assert (found.prompt, found.style, (found.width, found.height)) == ("a cat", style, size)


@pytest.mark.parametrize(
    "message",
    [
        "red, white and blue flags",
        "a hat and a scarf",
        "I can't see the hat",
        "don't remove the hat",
        "the parrot should not hold a flag",
        "a rose",
    ],
)
def test_other_words_are_not_taken_for_changes(message: str):
    found = changed("a cat with a hat", message)
    assert (found.negative_prompt, found.prompt.startswith("a cat")) == ("", False)


def test_several_colours_are_no_clauses_of_their_own():
    assert changed("a red car", "make it blue and white").prompt != "a white car"
