"""Words and signs that leave something out: which of them are part of a name, and what they leave out."""

from __future__ import annotations

import pytest

from limner_worker.languages import emoji
from limner_worker.stages.interpretation.rules import interpret, only_left_out


def read(text: str) -> tuple[str, str]:
    found = interpret(text, ("3d", "flat"))
    return found.prompt, found.negative_prompt


@pytest.mark.parametrize(
    "text",
    [
        "Doctors without borders poster",
        "an Engineers Without Borders sticker",
        "the album cover of Songs Without Words",
        "ein Plakat von Ingenieure ohne Grenzen",
        "ein Buch mit dem Titel Das Haus ohne Fenster",
        "un roman intitulé La maison sans fenêtres",
        "une affiche du film Sans toit ni loi",
        "un libro titulado El hombre sin sombrero",
        "um livro com o título A casa sem portas",
        "la locandina del film Senza pelle",
        "een boek met de titel Het huis zonder deuren",
        "книга под названием Дом без окон",
        "логотип учителей без границ",
        "封面《没有窗户的房子》",
        "小説『窓のない家』の表紙",
        "여행가 국경 없이",
    ],
)
def test_a_name_keeps_its_words_of_leaving_out(text: str) -> None:
    assert read(text) == (text, "")


@pytest.mark.parametrize(
    ("text", "prompt", "left_out"),
    [
        ("A House Without Windows", "A House", "Windows"),
        ("a castle. No flags please", "a castle", "flags"),
        ("a castle\nNo flags", "a castle", "flags"),
        ("a castle 🏰\nNo flags", "a castle", "flags"),
        ("A CASTLE WITHOUT FLAGS", "A CASTLE", "FLAGS"),
        ("ein Haus in Berlin ohne Fenster", "ein Haus in Berlin", "Fenster"),
        ("ein Schloss\nKeine Fahnen", "ein Schloss", "Fahnen"),
        ("a dog named Rex without a collar", "a dog named Rex", "collar"),
    ],
)
def test_a_capital_of_a_sentence_or_of_every_word_is_of_no_name(text: str, prompt: str, left_out: str) -> None:
    assert read(text) == (prompt, left_out)


@pytest.mark.parametrize(
    ("text", "prompt", "left_out"),
    [
        ("🐶🚫🐱", "dog face", "cat face"),
        ("🐶 🐭 ❌ 🐱🧀", "dog face and mouse face", "cat face, cheese wedge"),
        ("🚫🐱", "prohibited", "cat face"),
        ("a dog ⛔️ 🐱 in a park.", "a dog in a park", "cat face"),
        ("a picnic 🚫 ants", "a picnic", "ants"),
        ("🐱🍕 ohne 🍅", "cat face pizza", "tomato"),
        ("ein Haus 🚫🌳", "ein Haus", "deciduous tree"),
        ("собака 🚫🐱", "собака", "cat face"),
        ("海边的房子🚫⛵", "海边的房子", "sailboat"),
        ("海辺の家🚫⛵", "海辺の家", "sailboat"),
        ("바닷가의 집 🚫⛵", "바닷가의 집", "sailboat"),
        ("🚫 parking sign", "prohibited parking sign", ""),
    ],
)
def test_a_sign_of_negation_leaves_out_what_follows_it(text: str, prompt: str, left_out: str) -> None:
    assert read(text) == (prompt, left_out)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("🐼打太极", "panda打太极"),
        ("🦉が本を読む", "owlが本を読む"),
        ("🦊가 잔다", "fox가 잔다"),
        ("고양이와 🦊", "고양이와 fox"),
        ("a 🐼 in a tree", "a panda in a tree"),
    ],
)
def test_a_name_of_an_emoji_has_spaces_only_towards_words_that_have_them(text: str, words: str) -> None:
    assert emoji.spelled(text) == words


@pytest.mark.parametrize(
    ("text", "prompt", "left_out"),
    [
        ("doctors without borders", "doctors without borders", ""),
        ("a poster of doctors without borders", "a poster of doctors without borders", ""),
        ("doctors without masks", "doctors", "masks"),
        ("a photo without borders", "a photo", "borders"),
        ("no smoking", "no smoking", ""),
        ("a pub with a no smoking sign", "a pub with a no smoking sign", ""),
    ],
)
def test_a_name_in_lower_case_is_known_by_its_words(text: str, prompt: str, left_out: str) -> None:
    assert read(text) == (prompt, left_out)


@pytest.mark.parametrize(
    ("text", "left_out"),
    [
        ("no cat", "cat"),
        ("no dogs, no cats", "dogs, cats"),
        ("keine Katze bitte", "Katze"),
        ("без кота", "кота"),
        ("不要猫", "猫"),
        ("a cat without a hat", ""),
        ("no smoking", ""),
        ("🚫🐱", ""),
    ],
)
def test_a_text_that_only_leaves_something_out_is_told_from_others(text: str, left_out: str) -> None:
    found = only_left_out(text)
    assert (found[1] if found else "") == left_out


def test_the_words_beside_emoji_tell_the_language() -> None:
    assert emoji.removed("🐱🍕 ohne 🍅") == "ohne"
    assert emoji.spelled("🐱") == "cat face"


@pytest.mark.parametrize(
    ("text", "prompt", "left_out"),
    [
        ("公園にいるリードなしの犬", "公園にいる犬", "リード"),
        ("ベンチに座る帽子のない猫", "ベンチに座る猫", "帽子"),
        ("川を渡る荷物のないロバ", "川を渡るロバ", "荷物"),
        ("森の中の窓のない家", "森の中の家", "窓"),
        ("赤い服を着た人のいない街", "街", "赤い服を着た人"),
        ("車も人もいない通り", "通り", "車, 人"),
    ],
)
def test_where_a_thing_is_stays_when_a_denial_stands_between(text: str, prompt: str, left_out: str) -> None:
    assert read(text) == (prompt, left_out)


@pytest.mark.parametrize(
    ("text", "prompt", "left_out"),
    [
        ("дом без окон и дерево", "дом и дерево", "окон"),
        ("дом без окон и большая лодка", "дом и большая лодка", "окон"),
        ("дом без окон и дверей", "дом", "окон, дверей"),
        ("кот без хвоста и собака", "кот и собака", "хвоста"),
        ("кот без хвоста и когтей", "кот", "хвоста, когтей"),
        ("девочка без шапки и пальто", "девочка", "шапки, пальто"),
        ("тарелка супа, только без ложки", "тарелка супа", "ложки"),
    ],
)
def test_a_noun_in_the_nominative_is_drawn(text: str, prompt: str, left_out: str) -> None:
    assert read(text) == (prompt, left_out)


@pytest.mark.parametrize(
    ("text", "prompt", "left_out"),
    [
        ("a dog, " + "no cat, " * 70, "a dog", "cat"),
        ("a dog " + "no cat " * 70, "a dog", "cat"),
        ("собака " + "без кошки " * 70, "собака", "кошки"),
        ("犬、" + "猫なし、" * 70, "犬", "猫"),
        ("a dog with no cat no mouse", "a dog", "cat, mouse"),
    ],
)
def test_a_thing_that_is_denied_many_times_is_left_out_once(text: str, prompt: str, left_out: str) -> None:
    assert read(text) == (prompt, left_out)


@pytest.mark.parametrize(
    ("text", "prompt", "left_out"),
    [
        ("a shelf bereft of books", "a shelf", "books"),
        ("a cellar which holds no wine", "a cellar", "wine"),
        ("ein Garten, in dem keine Bäume stehen", "ein Garten", "Bäume"),
        ("ein Zug, die Wagen braucht es nicht", "ein Zug", "Wagen"),
        ("un phare dénué de lumière", "un phare", "lumière"),
        ("un jardin où il n'y a pas de fleurs", "un jardin", "fleurs"),
        ("un coche desprovisto de ruedas", "un coche", "ruedas"),
        ("un bosque en el que no hay pájaros", "un bosque", "pájaros"),
        ("um carro isento de rodas", "um carro", "rodas"),
        ("um bosque onde não há pássaros", "um bosque", "pássaros"),
        ("un'auto sprovvista di ruote", "un'auto", "ruote"),
        ("un bosco in cui non ci sono uccelli", "un bosco", "uccelli"),
        ("een tuin waar geen bomen groeien", "een tuin", "bomen"),
        ("een trein, de wagons hoeven er niet bij", "een trein", "wagons"),
        ("сад, лишённый деревьев", "сад", "деревьев"),
        ("поезд, вагоны не нужны", "поезд", "вагоны"),
        ("一列火车。车厢就免了", "一列火车", "车厢"),
        ("汽車、客車は結構です", "汽車", "客車"),
        ("기차, 객차는 안 나왔으면 좋겠어", "기차", "객차"),
        ("나무가 하나도 없는 정원", "정원", "나무"),
    ],
)
def test_lacking_and_not_needing_leave_things_out_in_every_language(text: str, prompt: str, left_out: str) -> None:
    assert read(text) == (prompt, left_out)


@pytest.mark.parametrize(
    ("text", "prompt", "n"),
    [
        ("a fox, make that four", "a fox", 4),
        ("ein Fuchs, davon bitte vier", "ein Fuchs", 4),
        ("un renard en quatre exemplaires", "un renard", 4),
        ("un zorro, que sean cuatro", "un zorro", 4),
        ("uma raposa em quatro versões", "uma raposa", 4),
        ("una volpe, ne vorrei quattro", "una volpe", 4),
        ("een vos, doe er maar vier", "een vos", 4),
        ("лиса, штучки четыре", "лиса", 4),
    ],
)
def test_a_number_may_follow_the_thing(text: str, prompt: str, n: int) -> None:
    found = interpret(text, ())
    assert (found.prompt, found.n) == (prompt, n)


@pytest.mark.parametrize(
    "text", ["除了椅子什么都没有的房间", "пирог на столе", "a room with a table", "drei Schweine, vier Katzen"]
)
def test_words_that_only_look_like_it_stay(text: str) -> None:
    found = interpret(text, ())
    assert (found.prompt, found.negative_prompt, found.n) == (text, "", None)
