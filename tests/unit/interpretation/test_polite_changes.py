"""Follow-ups that are polite questions, in eleven languages, and what a subject is given."""

from __future__ import annotations

import pytest
from tests.unit.interpretation.follow_ups import SEED, changed


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("a cat", "blue would be nicer", "a blue cat"),
        ("a cat with a hat", "could the hat be red?", "a cat with a red hat"),
        ("a red kite", "could the red kite be purple?", "a purple kite"),
        ("a red car", "what about a blue one?", "a blue car"),
        ("ein roter Hund", "könnte er blau sein?", "ein blauer Hund"),
        ("eine Katze auf einem Sofa", "könnte das Sofa grün sein?", "eine Katze auf einem grünen Sofa"),
        ("un chien", "tu peux le faire en bleu ?", "un chien bleu"),
        ("un chat avec une veste", "est-ce que la veste peut être verte ?", "un chat avec une veste verte"),
        ("un perro", "¿puede ser azul?", "un perro azul"),
        ("un cane", "può essere blu?", "un cane blu"),
        ("um cão", "pode ser azul?", "um cão azul"),
        ("een rode hond", "kan hij blauw zijn?", "een blauwe hond"),
        ("кот в красной шляпе", "можно шляпу сделать синей?", "кот в синей шляпе"),
        ("一只狗", "可以变成蓝色吗", "一只蓝色的狗"),
        ("一辆红色的汽车", "汽车可以是蓝色的吗", "一辆蓝色的汽车"),
        ("犬", "青くできますか", "青い犬"),
        ("개", "파란색으로 해줄 수 있어?", "파란 개"),
        ("ein Hund auf einem Sofa", "kannst du den Hund durch eine Katze ersetzen?", "eine Katze auf einem Sofa"),
        ("un chat sur un lit", "peux-tu remplacer le chat par un chien ?", "un chien sur un lit"),
    ],
)
def test_a_polite_question_changes_the_picture(before: str, message: str, prompt: str):
    found = changed(before, message)
    assert (found.prompt, found.seed) == (prompt, SEED)


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("a bear", "mind doing another one?"),
        ("ein Bär", "hättest du noch eins?"),
        ("un ours", "encore une autre"),
        ("un oso", "¿podrías darme otra más?"),
        ("un orso", "ne vorrei un'altra"),
        ("um urso", "você consegue fazer outra?"),
        ("een beer", "mag ik er nog eentje?"),
        ("медведь", "можно ещё один?"),
        ("一只熊", "能不能再来一张"),
        ("熊", "もう一枚ください"),
        ("熊", "もう一つお願いできますか"),
        ("곰", "하나 더 그려 주실래요?"),
    ],
)
def test_a_polite_question_asks_for_another_picture(before: str, message: str):
    found = changed(before, message)
    assert (found.prompt, found.n, found.seed) == (before, 1, None)


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("a cat", "could you do it in 3d?"),
        ("eine Katze", "geht das auch in 3d?"),
        ("un chat", "tu peux le faire en 3d ?"),
        ("un gato", "¿lo puedes hacer en 3d?"),
        ("un gatto", "me lo faresti in 3d?"),
        ("um gato", "dá para fazer em 3d?"),
        ("een kat", "zou het ook in 3d kunnen?"),
        ("кошка", "а можно в 3d?"),
        ("一只猫", "能做成3d吗"),
        ("猫", "3dにできますか"),
        ("고양이", "3d로 해 줄 수 있어?"),
    ],
)
def test_a_polite_question_asks_for_a_style(before: str, message: str):
    found = changed(before, message)
    assert (found.prompt, found.style, found.seed) == (before, "3d", SEED)


@pytest.mark.parametrize(
    ("before", "message", "prompt", "left_out"),
    [
        ("ein Hund mit Hut", "kannst du den Hut weglassen?", "ein Hund", "Hut"),
        ("一只戴帽子的狗", "帽子可以去掉吗", "一只狗", "帽子"),
        ("帽子をかぶった猫", "帽子を取ってもらえますか", "猫", "帽子"),
        ("모자를 쓴 곰", "모자 빼 줄 수 있어요?", "곰", "모자"),
    ],
)
def test_a_polite_question_takes_something_away(before: str, message: str, prompt: str, left_out: str):
    found = changed(before, message)
    assert (found.prompt, found.negative_prompt) == (prompt, left_out)


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("a cat on a sofa", "give it a hat", "a cat with a hat on a sofa"),
        ("a cat with a scarf", "give it a hat too", "a cat with a scarf and a hat"),
        ("a dog next to a cat", "give the cat a hat", "a dog next to a cat with a hat"),
        ("ein Hund", "kannst du ihm einen Hut aufsetzen?", "ein Hund mit einem Hut"),
        ("un chien", "tu peux lui mettre un chapeau ?", "un chien avec un chapeau"),
        ("un perro", "¿puedes ponerle un sombrero?", "un perro con un sombrero"),
        ("un cane", "mettigli un cappello", "un cane con un cappello"),
        ("um cão", "coloca um chapéu nele", "um cão com um chapéu"),
        ("een hond", "zet hem een hoed op", "een hond met een hoed"),
        ("собака", "надень на неё шляпу", "собака носит шляпу"),
        ("一只狗", "给它戴上帽子", "一只戴帽子的狗"),
        ("犬", "帽子をかぶせてもらえますか", "帽子をかぶった犬"),
        ("곰", "모자를 씌워 줘", "모자를 쓴 곰"),
        ("a cat", "give it a try", "a cat"),
    ],
)
def test_what_a_subject_is_given_is_worn_by_it(before: str, message: str, prompt: str):
    assert changed(before, message).prompt == prompt


@pytest.mark.parametrize(
    ("message", "prompt"),
    [
        ("can you draw a blue dog?", "a blue dog"),
        ("could I have an orange", "an orange"),
        ("a red cat", "a red cat"),
        ("another dog please", "another dog"),
        ("could I have two dogs?", "two dogs"),
        ("je voudrais une rose", "une rose"),
        ("quiero una rosa", "una rosa"),
        ("otro perro", "otro perro"),
        ("noch ein Haus", "ein Haus"),
        ("tu peux me dessiner une maison bleue ?", "une maison bleue"),
        ("нарисуй синий дом", "синий дом"),
        ("画一个蓝色的房子", "一个蓝色的房子"),
        ("青い家を描いてください", "青い家"),
        ("파란 집 그려 줄래?", "파란 집"),
    ],
)
def test_a_question_with_a_thing_of_its_own_is_about_another_picture(message: str, prompt: str):
    found = changed("a cat on a sofa", message)
    assert (found.prompt, found.seed) == (prompt, None)
