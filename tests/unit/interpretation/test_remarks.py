"""Follow-ups with remarks beside what they change: praise, courtesies, second thoughts and emoji, in any language."""

from __future__ import annotations

import pytest
from tests.unit.interpretation.follow_ups import SEED, changed


@pytest.mark.parametrize(
    ("before", "message", "prompt", "negative", "place"),
    [
        ("a fox in a forest", "I like the second one a lot, remove the forest", "a fox", "forest", 1),
        (
            "ein Ritter mit Schild",
            "das zweite gefällt mir am allermeisten, der Schild kann weg",
            "ein Ritter",
            "Schild",
            1,
        ),
        ("un chat avec un chapeau", "j'aime énormément la deuxième, enlève le chapeau", "un chat", "chapeau", 1),
        ("un gato con un sombrero", "la segunda me gusta un montón, quita el sombrero", "un gato", "sombrero", 1),
        ("un gatto con un cappello", "la terza mi piace tantissimo, togli il cappello", "un gatto", "cappello", 2),
        ("um gato com um chapéu", "gostei um monte da segunda, tira o chapéu", "um gato", "chapéu", 1),
        ("een kat met een hoed", "de tweede is echt hartstikke mooi, haal de hoed weg", "een kat", "hoed", 1),
        ("кот в шляпе", "второй безумно нравится, убери шляпу", "кот", "шляпу", 1),
        ("一只戴帽子的猫", "第二张超美的，去掉帽子", "一只猫", "帽子", 1),
        ("帽子をかぶった猫", "2枚目がめちゃくちゃ好き、帽子はいらない", "猫", "帽子", 1),
        ("모자를 쓴 고양이", "두 번째가 엄청 예뻐요, 모자는 빼줘", "고양이", "모자", 1),
    ],
)
def test_a_picture_that_is_liked_very_much_changes(before: str, message: str, prompt: str, negative: str, place: int):
    found = changed(before, message, pictures=4)
    assert (found.prompt, found.negative_prompt, found.seed, found.n) == (prompt, negative, SEED + place, 1)


@pytest.mark.parametrize(
    ("before", "message", "prompt", "negative"),
    [
        ("a lighthouse", "at night and without boats, could you?", "a lighthouse at night", "boats"),
        (
            "ein Leuchtturm",
            "Vielen Dank! Jetzt bei Nacht und ohne Boote, geht das?",
            "ein Leuchtturm bei Nacht",
            "Boote",
        ),
        (
            "un phare",
            "Merci beaucoup ! Maintenant de nuit et sans bateaux, c'est possible ?",
            "un phare de nuit",
            "bateaux",
        ),
        (
            "un faro",
            "¡Muchas gracias! Ahora de noche y sin barcos, ¿puede ser?",
            "un faro de noche",
            "barcos",
        ),
        (
            "un faro",
            "Grazie mille! Ora di notte e senza barche, si può?",
            "un faro di notte",
            "barche",
        ),
        ("um farol", "Valeu! Sem barcos, dá pra fazer?", "um farol", "barcos"),
        ("een vuurtoren", "Dankjewel! Nu bij nacht en zonder boten, kan dat?", "een vuurtoren bij nacht", "boten"),
        ("маяк", "Спасибо! Теперь ночью и без лодок, можно?", "маяк ночью", "лодок"),
        ("海辺の灯台", "ありがとう！夜にして、船はなしで、お願いできますか", "海辺の灯台，夜", "船"),
        ("바닷가의 등대", "고마워요! 밤으로 해주고 배는 빼줘, 가능해요?", "바닷가의 등대, 밤", "배"),
        ("a rabbit on a lawn", "never mind, change the rabbit to a squirrel", "a squirrel on a lawn", ""),
        (
            "ein Hase auf einer Wiese",
            "ach egal, mach aus dem Hasen ein Eichhörnchen",
            "ein Eichhörnchen auf einer Wiese",
            "",
        ),
        ("un lapin dans l'herbe", "tant pis, remplace le lapin par un écureuil", "un écureuil dans l'herbe", ""),
        ("un conejo en la hierba", "da igual, cambia el conejo por una ardilla", "una ardilla en la hierba", ""),
        (
            "un coniglio sul prato",
            "lascia stare, cambia il coniglio con uno scoiattolo",
            "uno scoiattolo sul prato",
            "",
        ),
        ("um coelho na grama", "deixa pra lá, troca o coelho por um esquilo", "um esquilo na grama", ""),
        (
            "een konijn op een grasveld",
            "laat maar, verander het konijn in een eekhoorn",
            "een eekhoorn op een grasveld",
            "",
        ),
        ("кролик на траве", "ладно, замени кролика на белку", "белка на траве", ""),
        ("一只兔子在草地上", "没事，把兔子改成松鼠吧", "一只松鼠在草地上", ""),
        ("芝生の上のウサギ", "まあいいや、ウサギをリスに変えて", "芝生の上のリス", ""),
        ("잔디 위의 토끼", "됐고, 토끼를 다람쥐로 바꿔줘", "잔디 위의 다람쥐", ""),
        ("a snowman with a hat", "love it 😍 but lose the hat", "a snowman", "hat"),
        ("un chat", "trop mignon 😻 mets-le en bleu", "un chat bleu", ""),
        ("一只猫", "哈哈太可爱了😂 换成蓝色", "一只蓝色的猫", ""),
        ("a snowman", "make it a 🐶", "a dog face", ""),
        ("een vaas met tulpen", "liever rozen i.p.v. tulpen", "een vaas met rozen", ""),
        ("a vase with tulips", "make it roses instead of tulips", "a vase with roses", ""),
        ("eine Vase mit Tulpen", "doch lieber Rosen statt Tulpen", "eine Vase mit Rosen", ""),
        ("un jarrón con tulipanes", "mejor rosas en vez de tulipanes", "un jarrón con rosas", ""),
        ("un vaso con tulipani", "meglio rose invece di tulipani", "un vaso con rose", ""),
        ("um vaso com tulipas", "melhor rosas em vez de tulipas", "um vaso com rosas", ""),
        ("ваза с тюльпанами", "лучше розы вместо тюльпанов", "ваза с розами", ""),
    ],
)
def test_remarks_beside_a_change_say_nothing(before: str, message: str, prompt: str, negative: str):
    found = changed(before, message)
    assert (found.prompt, found.negative_prompt, found.seed) == (prompt, negative, SEED)


@pytest.mark.parametrize(
    ("before", "message", "size", "n"),
    [
        ("海边的灯塔", "超美！竖版的再来三张，不要海鸥", (256, 384), 3),
        ("海辺の灯台", "素敵です！横長で4種類ください、船はいりません", (384, 256), 4),
        ("바닷가의 등대", "멋져요! 세로로 세 장 더 그려주시고 갈매기는 없게 해주세요", (256, 384), 3),
        ("een fiets", "maak hem breed ofzo", (384, 256), 1),
        ("a bike", "make it square or something", (256, 256), 1),
        ("ein Rad", "mach es quadratisch oder so", (256, 256), 1),
        ("un vélo", "en format carré ou quelque chose", (256, 256), 1),
        ("una bici", "en vertical o algo", (256, 384), 1),
    ],
)
def test_remarks_beside_a_shape_say_nothing(before: str, message: str, size: tuple[int, int], n: int):
    found = changed(before, message)
    assert (found.prompt, (found.width, found.height), found.n) == (before, size, n)


@pytest.mark.parametrize(
    ("before", "message", "n"),
    [
        ("a tower", "whoa superb! three more", 3),
        ("ein Turm", "boah krass! noch zwei davon", 2),
        ("une tour", "oh là là, sublime, encore trois", 3),
        ("una torre", "¡qué pasada! otras dos", 2),
        ("una torre", "mamma mia che meraviglia, altre due", 2),
        ("uma torre", "nossa, sensacional! manda mais três", 3),
        ("een toren", "jeetje, wat mooi! nog drie", 3),
        ("башня", "ничего себе! ещё три варианта", 3),
        ("一座塔", "哇塞，再来三张", 3),
        ("塔", "うわあ、いい感じ！あと3枚", 3),
        ("탑", "우와! 세 장 더", 3),
    ],
)
def test_exclamations_say_nothing(before: str, message: str, n: int):
    found = changed(before, message)
    assert (found.prompt, found.n, found.seed) == (before, n, None)


def test_an_emoji_that_is_a_thing_stays():
    assert changed("a snowman", "make it a \N{DOG FACE}").prompt == "a dog face"
