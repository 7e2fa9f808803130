"""A thing that goes takes what describes it along: its adjectives, its number, and where it is worn."""

from __future__ import annotations

import pytest
from tests.unit.interpretation.follow_ups import SEED, changed, wished


@pytest.mark.parametrize(
    ("before", "message", "prompt", "negative"),
    [
        ("a wizard with a pointy hat feeding an owl", "lose the hat", "a wizard feeding an owl", "hat"),
        ("a rabbit with very long ears in a field", "remove the ears", "a rabbit in a field", "ears"),
        ("a dog with a red woolly scarf and a ball", "the scarf can go", "a dog with a ball", "scarf"),
        ("a table, a green lamp and a book", "remove the lamp", "a table and a book", "lamp"),
        ("a cat with a hat on its head on a roof", "no hat", "a cat on a roof", "hat"),
        ("a cat and dogs playing ball", "remove the ball", "a cat and dogs", "ball"),
        ("a cat with two kittens on a mat", "remove the kittens", "a cat on a mat", "kittens"),
        ("ein Cowboy mit einem großen Hut auf einem Lama", "der Hut kann weg", "ein Cowboy auf einem Lama", "Hut"),
        ("eine Katze mit langem rotem Schal", "ohne den Schal", "eine Katze", "Schal"),
        (
            "ein Ritter mit glänzendem Schwert vor einer Burg",
            "das Schwert soll weg",
            "ein Ritter vor einer Burg",
            "Schwert",
        ),
        ("ein Bär mit einem Hut auf dem Kopf im Wald", "den Hut weg", "ein Bär im Wald", "Hut"),
        ("un cowboy avec un grand chapeau sur un lama", "enlève le chapeau", "un cowboy sur un lama", "chapeau"),
        ("un cowboy avec un chapeau noir sur un lama", "enlève le chapeau", "un cowboy sur un lama", "chapeau"),
        ("un chat avec une écharpe rayée dans la neige", "sans écharpe", "un chat dans la neige", "écharpe"),
        ("un ours avec un chapeau de paille", "vire le chapeau", "un ours", "chapeau"),
        (
            "un vaquero con un sombrero grande en un caballo",
            "quita el sombrero",
            "un vaquero en un caballo",
            "sombrero",
        ),
        ("un oso con una bufanda roja y larga", "sin bufanda", "un oso", "bufanda"),
        ("un gato con un sombrero de paja en la playa", "quita el sombrero", "un gato en la playa", "sombrero"),
        (
            "un gato con un sombrero durmiendo en la playa",
            "quita el sombrero",
            "un gato durmiendo en la playa",
            "sombrero",
        ),
        ("un gato con un collar de noche", "quita el collar", "un gato de noche", "collar"),
        ("un pirata con un pappagallo verde su una nave", "togli il pappagallo", "un pirata su una nave", "pappagallo"),
        (
            "una bambina con un grande palloncino rosso nel parco",
            "togli il palloncino",
            "una bambina nel parco",
            "palloncino",
        ),
        ("um menino com um chapéu grande na praia", "tira o chapéu", "um menino na praia", "chapéu"),
        ("uma bruxa com uma vassoura velha no telhado", "sem vassoura", "uma bruxa no telhado", "vassoura"),
        (
            "een sneeuwpop met een hoge hoed en een rode sjaal",
            "de hoed mag weg",
            "een sneeuwpop met een rode sjaal",
            "hoed",
        ),
        ("een ridder met een lange pluim bij een vuur", "haal de pluim weg", "een ridder bij een vuur", "pluim"),
        ("кот в большой шляпе на крыше", "убери шляпу", "кот на крыше", "шляпу"),
        ("девочка с большим красным шаром в парке", "убери шар", "девочка в парке", "шар"),
        ("снеговик с длинным шарфом и метлой", "убери шарф", "снеговик с метлой", "шарф"),
        ("一只戴着大帽子的猫", "去掉帽子", "一只猫", "帽子"),
        ("一个戴着一顶红色帽子的老人", "不要帽子", "一个老人", "帽子"),
        ("大きな帽子をかぶった猫", "帽子はなしで", "猫", "帽子"),
        ("長くて赤いマフラーをした雪だるま", "マフラー取って", "雪だるま", "マフラー"),
        ("큰 모자를 쓴 고양이", "모자는 빼줘", "고양이", "모자"),
        ("길고 빨간 목도리를 두른 눈사람", "목도리 빼줘", "눈사람", "목도리"),
        ("a king with a golden crown and a red cape", "remove the crown", "a king with a red cape", "crown"),
        ("a king with a golden crown and red cape", "remove the crown", "a king with red cape", "crown"),
        (
            "a bear with a small wooden boat, a red flag and a dog",
            "remove the flag",
            "a bear with a small wooden boat and a dog",
            "flag",
        ),
        ("an old man with two big dogs in a park", "no dogs", "an old man in a park", "dogs"),
        ("ein alter Mann mit zwei großen Hunden im Park", "ohne Hunde", "ein alter Mann im Park", "Hunde"),
        (
            "une fille avec un chapeau rouge et une écharpe bleue",
            "enlève le chapeau",
            "une fille avec une écharpe bleue",
            "chapeau",
        ),
        (
            "une fille avec un chapeau rouge et une écharpe bleue",
            "enlève l'écharpe",
            "une fille avec un chapeau rouge",
            "écharpe",
        ),
        ("un chat et un chien blanc sur un tapis", "sans le chien", "un chat sur un tapis", "chien"),
        ("un gato negro y un perro blanco en un parque", "quita el perro", "un gato negro en un parque", "perro"),
        ("una chica con un sombrero rojo y una bufanda", "quita el sombrero", "una chica con una bufanda", "sombrero"),
        (
            "une table avec une grande lampe, une tasse et un livre",
            "enlève la lampe",
            "une table avec une tasse et un livre",
            "lampe",
        ),
        ("老人和一只大狗在公园里", "去掉狗", "老人在公园里", "狗"),
        ("一只戴着红色帽子和蓝色围巾的猫", "去掉帽子", "一只戴着蓝色围巾的猫", "帽子"),
        ("一只戴着红色帽子和蓝色围巾的猫", "去掉围巾", "一只戴着红色帽子的猫", "围巾"),
        ("赤い帽子をかぶった白い猫", "帽子はいらない", "白い猫", "帽子"),
        ("猫と大きな犬", "犬はいらない", "猫", "犬"),
        ("빨간 모자를 쓴 하얀 고양이", "모자 빼줘", "하얀 고양이", "모자"),
        ("고양이와 큰 개", "개 빼줘", "고양이", "개"),
        ("белый кот и чёрная собака на траве", "убери собаку", "белый кот на траве", "собаку"),
        ("стол с большой лампой, чашкой и книгой", "убери лампу", "стол с чашкой и книгой", "лампу"),
        ("a man and a woman", "remove the man", "a woman", "man"),
        ("a pirate with a flag", "lose the flag, and make it green", "a green pirate", "flag"),
        ("举着旗子的企鹅", "不要旗子，换成蓝色的", "蓝色的企鹅", "旗子"),
        ("旗を持ったペンギン", "旗はなしで、青くして", "青いペンギン", "旗"),
        ("깃발을 든 펭귄", "깃발은 빼고 파란색으로 바꿔줘", "파란 펭귄", "깃발"),
        ("a fox in front of a red barn", "remove the barn", "a fox", "barn"),
        ("a girl next to a big tree on a hill", "no tree", "a girl on a hill", "tree"),
        ("a valley with snowy peaks in the background", "without the peaks", "a valley", "peaks"),
        ("eine Katze neben einem großen Baum", "der Baum kann weg", "eine Katze", "Baum"),
        ("ein Dorf mit hohen Bergen im Hintergrund", "ohne Berge", "ein Dorf", "Berge"),
        ("un chat à côté d'un arbre", "enlève l'arbre", "un chat", "arbre"),
        ("un chien devant une maison rouge", "sans la maison", "un chien", "maison"),
        ("un gato junto a un árbol grande", "quita el árbol", "un gato", "árbol"),
        ("un perro delante de una casa", "sin la casa", "un perro", "casa"),
        ("un gatto accanto a un albero", "togli l'albero", "un gatto", "albero"),
        ("un cane davanti alla casa rossa", "senza la casa", "un cane", "casa"),
        ("um gato ao lado de uma árvore", "tira a árvore", "um gato", "árvore"),
        ("um cachorro na frente da casa", "sem a casa", "um cachorro", "casa"),
        ("een kat naast een grote boom", "haal de boom weg", "een kat", "boom"),
        ("кот рядом с большим деревом", "убери дерево", "кот", "дерево"),
        ("собака перед красным домом в деревне", "без дома", "собака в деревне", "дома"),
        ("un gatto accanto all'albero", "togli l'albero", "un gatto", "albero"),
        ("un lapin sous l'arbre", "enlève l'arbre", "un lapin", "arbre"),
        ("старик в длинном пальто и с тростью", "убери трость", "старик в длинном пальто", "трость"),
        ("белка с тремя маленькими орешками на ветке", "без орешков", "белка на ветке", "орешков"),
        ("一个举着红色旗子的男孩", "去掉旗子", "一个男孩", "旗子"),
        ("eine Frau mit Hut und mit einem roten Schirm", "ohne Schirm", "eine Frau mit Hut", "Schirm"),
        ("a boy holding a big red balloon in a park", "remove the balloon", "a boy in a park", "balloon"),
        ("a man and a woman holding two balloons", "no balloons", "a man and a woman", "balloons"),
        ("a girl holding a flag and a balloon", "no flag", "a girl holding a balloon", "flag"),
        ("une fille tenant un ballon rouge dans un parc", "enlève le ballon", "une fille dans un parc", "ballon"),
        ("un niño sosteniendo un globo", "quita el globo", "un niño", "globo"),
        ("una bambina che tiene un palloncino rosso", "togli il palloncino", "una bambina", "palloncino"),
        ("um menino segurando um balão na praia", "tira o balão", "um menino na praia", "balão"),
        ("девочка, держащая красный шар, в парке", "убери шар", "девочка, в парке", "шар"),
    ],
)
def test_what_describes_a_thing_goes_with_it(before: str, message: str, prompt: str, negative: str):
    found = changed(before, message)
    assert (found.prompt, found.negative_prompt, found.seed) == (prompt, negative, SEED)


@pytest.mark.parametrize(
    ("before", "message", "prompt", "negative"),
    [
        ("een winkel", "ik zie mensen, kunnen die eruit?", "een winkel", "mensen"),
        ("a shop", "I see people in it, can they go?", "a shop", "people"),
        ("a shop", "there are people in the picture, remove them", "a shop", "people"),
        ("a castle", "I keep seeing birds. Take them out please, and make it blue", "a blue castle", "birds"),
        ("eine Burg", "ich sehe da ständig Vögel, können die weg?", "eine Burg", "Vögel"),
        ("eine Burg", "da sind Menschen drauf, nimm die bitte weg", "eine Burg", "Menschen"),
        ("un château", "je vois des oiseaux, tu peux les enlever ?", "un château", "oiseaux"),
        ("un castillo", "hay pájaros, ¿puedes quitarlos?", "un castillo", "pájaros"),
        ("un castello", "ci sono uccelli, puoi toglierli?", "un castello", "uccelli"),
        ("um castelo", "tem pássaros, pode tirar?", "um castelo", "pássaros"),
        ("een kasteel", "er staan steeds vogels op, haal die weg", "een kasteel", "vogels"),
        ("замок", "там птицы, убери их", "замок", "птицы"),
        ("城堡", "里面有鸟，去掉吧", "城堡", "鸟"),
        ("城", "鳥がいます、消してください", "城", "鳥"),
        ("een hond", "er staan twee katten op, haal ze weg", "een hond", "katten"),
        (
            "een winkel",
            "hm, ik zie steeds honden, kunnen die eruit? zet er een kat bij",
            "een winkel, een kat",
            "honden",
        ),
    ],
)
def test_what_someone_sees_and_does_not_want_goes(before: str, message: str, prompt: str, negative: str):
    found = changed(before, message)
    assert (found.prompt, found.negative_prompt, found.seed) == (prompt, negative, SEED)


@pytest.mark.parametrize("message", ["I see a dog, it's nice", "there are people in it"])
def test_what_someone_sees_stays_if_nobody_wants_it_away(message: str):
    assert changed("a shop", message).negative_prompt == ""


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("un abuelo con gafas y chaleco haciendo churros", "sin gafas", "un abuelo con chaleco haciendo churros"),
        ("una plaza con fuente, palomas y coches aparcados", "sin coches", "una plaza con fuente y palomas"),
        ("지하철역 앞의 노점상과 비둘기들", "비둘기 빼", "지하철역 앞의 노점상"),
    ],
)
def test_nothing_of_a_thing_is_left(before: str, message: str, prompt: str) -> None:
    assert changed(before, message).prompt == prompt


def test_a_thing_goes_whose_place_the_message_names_in_its_own_words() -> None:
    found = wished("класс с глобусом и портретом на стене", "{gone:портрет со стены} уберите")
    assert (found.prompt, found.negative_prompt) == ("класс с глобусом", "портрет")


def test_no_life_is_left_out_of_a_picture_that_has_none() -> None:
    found = wished("uma sala com um globo", "Tá meio sem graça. Põe {added:uns balões}")
    assert (found.prompt, found.negative_prompt) == ("uma sala com um globo, uns balões", "")
