"""Follow-ups in everyday words, after praise, with the part that goes or changes, in eleven languages."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.interpretation.follow_ups import SEED, changed


@pytest.mark.parametrize(
    ("before", "message", "prompt", "negative"),
    [
        ("a cat with a hat", "the hat has to go", "a cat", "hat"),
        ("eine Katze mit Hut", "der Hut soll weg", "eine Katze", "Hut"),
        ("un chat avec une écharpe", "vire l'écharpe", "un chat", "écharpe"),
        ("een kat met een hoed", "doe de hoed weg", "een kat", "hoed"),
        ("снеговик с шарфом", "шарф убери", "снеговик", "шарф"),
        ("マフラーをした雪だるま", "マフラー取って", "雪だるま", "マフラー"),
        ("목도리를 두른 눈사람", "목도리 빼줘", "눈사람", "목도리"),
        ("a cat on a mat", "make the cat a dog", "a dog on a mat", ""),
        ("eine Katze mit Hut", "mach aus der Katze einen Hund", "ein Hund mit Hut", ""),
        ("ein Pirat und ein Papagei", "statt dem Papagei lieber ein Affe", "ein Pirat und ein Affe", ""),
        ("un pirate et un perroquet", "à la place du perroquet, mets un singe", "un pirate et un singe", ""),
        ("un pirata y un loro", "en vez del loro pon un mono", "un pirata y un mono", ""),
        ("un pirata e un pappagallo", "al posto del pappagallo metti una scimmia", "un pirata e una scimmia", ""),
        ("um pirata e um papagaio", "no lugar do papagaio bota um macaco", "um pirata e um macaco", ""),
        ("een piraat en een papegaai", "maak van de papegaai een aap", "een piraat en een aap", ""),
        ("пират и попугай", "вместо попугая обезьяна", "пират и обезьяна", ""),
        ("ein grüner Drache", "lieber in lila bitte", "ein lila Drache", ""),
        ("un drago verde su una roccia", "lo preferirei viola", "un drago viola su una roccia", ""),
        ("岩石上的绿色龙", "换成紫色的吧", "岩石上的紫色龙", ""),
        ("a sign", "make it say haha", "a sign, say haha", ""),
        ("a dog", "haha", "a dog", ""),
        ("ein Elefant mit Hut", "Kannst du statt des Elefanten ein Nilpferd nehmen?", "ein Nilpferd mit Hut", ""),
        ("un elefante su un monte", "puoi mettere un orso al posto dell'elefante?", "un orso su un monte", ""),
        ("un orso con una sciarpa verde", "la sciarpa falla viola", "un orso con una sciarpa viola", ""),
        ("un oso con una bufanda verde", "la bufanda hazla roja", "un oso con una bufanda roja", ""),
        ("un tavolo con una candela e un libro", "via la candela", "un tavolo con un libro", "candela"),
        ("a table with a lamp, a cup and a book", "remove the lamp", "a table with a cup and a book", "lamp"),
        ("a cat with a hat and a dog with a ball", "no hat", "a cat and a dog with a ball", "hat"),
        ("eine Katze mit einem Hut und ein Hund", "ohne Hut", "eine Katze und ein Hund", "Hut"),
        ("стол со свечой и книгой", "убери свечу", "стол с книгой", "свечу"),
        ("стол с книгой и свечой", "убери книгу", "стол со свечой", "книгу"),
        ("ろうそくと本のあるテーブル", "ろうそくを消して", "本のあるテーブル", "ろうそく"),
        ("戴着帽子和围巾的猫", "去掉围巾", "戴着帽子的猫", "围巾"),
        ("모자와 목도리를 한 고양이", "모자 빼줘", "목도리를 한 고양이", "모자"),
        ("언덕 위의 성", "낮으로 해줘", "언덕 위의 성, 낮", ""),
    ],
)
def test_a_part_goes_or_changes(before: str, message: str, prompt: str, negative: str):
    found = changed(before, message)
    assert (found.prompt, found.negative_prompt, found.seed) == (prompt, negative, SEED)


@pytest.mark.parametrize(
    ("before", "message", "n"),
    [
        ("a badger in a canoe", "nice!! two more like that", 2),
        ("ein Dachs", "super, noch zwei davon", 2),
        ("un blaireau", "génial ! encore deux comme ça", 2),
        ("un tejón", "me encanta, dame otros dos", 2),
        ("un tasso", "bellissimo! fammene altri due", 2),
        ("um texugo", "adorei, quero mais dois", 2),
        ("een das", "leuk! nog twee graag", 2),
        ("ein Dachs", "haha super, noch vier davon bitte", 4),
        ("a badger", "lol amazing! three more please", 3),
        ("um texugo", "kkk adorei, manda mais duas", 2),
        ("барсук", "ахаха обожаю, давай ещё две", 2),
        ("アナグマ", "めっちゃかわいい笑 もう2枚お願い", 2),
        ("獾", "好可爱哈哈哈 再来两张", 2),
        ("오소리", "완전 귀엽다ㅋㅋ 세 장 더", 3),
        ("барсук", "класс, ещё парочку", 2),
        ("アナグマ", "いいね!あと二枚ちょうだい", 2),
        ("划独木舟的獾", "不错!再来两张", 2),
        ("오소리", "좋다! 두 장만 더", 2),
        ("a cat on a mat", "show me some other versions", 1),
    ],
)
def test_more_pictures_are_asked_for_after_praise(before: str, message: str, n: int):
    found = changed(before, message)
    assert (found.prompt, found.n, found.seed) == (before, n, None)


@pytest.mark.parametrize(
    ("before", "message", "place", "asked"),
    [
        ("a cat", "the fourth is the best, make it flat", 3, {"style": "flat"}),
        ("ein Kaktus", "das dritte gefällt mir, mach das mal flach", 2, {"style": "flat"}),
        ("un chat", "la deuxième est la mieux, en 3d", 1, {"style": "3d"}),
        ("un gato", "me quedo con el segundo", 1, {}),
        ("un gatto", "mi piace la seconda", 1, {}),
        ("um gato", "gostei da primeira, faz em 3d", 0, {"style": "3d"}),
        ("een kat", "ik vind de tweede het mooist", 1, {}),
        ("кот", "второй нравится, сделай его в 3d", 1, {"style": "3d"}),
    ],
)
def test_the_picture_that_is_liked_goes_on(before: str, message: str, place: int, asked: dict[str, Any]):
    found = changed(before, message, pictures=4)
    assert (found.prompt, found.seed, found.n) == (before, SEED + place, 1)
    assert {name: getattr(found, name) for name in asked} == asked


def test_another_idea_begins_another_picture():
    found = changed("a cat on a mat", "forget it, a horse please")
    assert (found.prompt, found.seed) == ("a horse", None)
