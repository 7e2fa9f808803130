"""Parts of a message whose words tell more of their role than the tagger."""

from __future__ import annotations

import pytest

from .follow_ups import SEED, wished


@pytest.mark.parametrize(
    ("before", "message", "size"),
    [
        ("мост через реку", "беру {picked:второй}, только {subject:альбомную ориентацию}", (384, 256)),
        ("um farol na costa", "amei, quero ela {size:quadrada} pro meu perfil", (256, 256)),
        ("башня у моря", "здорово! сделай {size:вертикально} для сторис", (256, 384)),
        ("ein Boot am Steg", "schön, nur {new:im Hochformat} für den Flur", (256, 384)),
    ],
)
def test_words_that_name_only_a_format_are_a_size(before: str, message: str, size: tuple[int, int]) -> None:
    found = wished(before, message, pictures=4)
    assert (found.prompt, (found.width, found.height)) == (before, size)


def test_a_verb_with_a_character_of_a_format_is_another_subject() -> None:
    found = wished("ネオン街を歩く少女", "うーん、やっぱり{subject:宇宙船を操縦するハムスター}で。{number:5枚}出して")
    assert (found.prompt, found.n, found.seed) == ("宇宙船を操縦するハムスター", 5, None)


def test_a_number_of_pictures_chooses_none() -> None:
    found = wished("우주복을 입은 고양이", "그럼 {subject:서핑하는 북극곰}으로 {picked:4장} 뽑아주세요", pictures=2)
    assert (found.prompt, found.n) == ("서핑하는 북극곰", 4)


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("a barn on a hill", "let it be {new:a pencil drawing} this time, ok", "a barn on a hill, pencil drawing"),
        ("a stack of pancakes", "ooh {picked:the second one} but {again:bigger}", "a stack of pancakes, bigger"),
    ],
)
def test_a_medium_alone_and_a_comparative_are_looks(before: str, message: str, prompt: str) -> None:
    assert wished(before, message, pictures=2).prompt == prompt


def test_a_version_in_another_style_is_no_other_picture() -> None:
    found = wished("a red tractor in a field", "{style:3d} {again:version} for the kids?")
    assert (found.style, found.seed) == ("3d", SEED)


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("мальчик в красном шарфе", "ну сделай {gone:шарф} синим уже", "мальчик в синем шарфе"),
        (
            "een rode tulp in een glazen vaas",
            "mag dit {new:een houten} {old:vaas} zijn?",
            "een rode tulp in een houten vaas",
        ),
        ("een houten vissersboot op zee", "dat moet {new:een stalen boot} zijn joh", "een stalen vissersboot op zee"),
        (
            "uma casa com uma escada de madeira",
            "troca a {old:escada de madeira} por {new:uma de ferro}",
            "uma casa com uma escada de ferro",
        ),
        ("белая волга в гараже", "эх, {old:волгу} бы {new:вишнёвой}, как у деда", "вишнёвая волга в гараже"),
        ("木桌上的一盘苹果", "孩子不爱吃，把{old:苹果}换成{quality:草莓}吧", "木桌上的一盘草莓"),
        ("튤립이 꽂힌 화병", "근데 {old:튤립} 말고 {quality:해바라기}로 될까요?", "해바라기가 꽂힌 화병"),
    ],
)
def test_qualities_and_things_are_told_apart_by_their_words(before: str, message: str, prompt: str) -> None:
    found = wished(before, message)
    assert (found.prompt, found.negative_prompt) == (prompt, "")


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("букет ромашек в вазе", "отлично, с этим закончили. нужен {added:маяк на скале}", "маяк на скале"),
        ("도서관의 학생", "이건 됐고요, {added:떡볶이 먹는 눈사람}도 돼요?", "떡볶이 먹는 눈사람"),
        (
            "eine Eule im Wald",
            "jetzt was ganz anderes, nämlich {subject:einen Maulwurf im Tunnel}",
            "ein Maulwurf im Tunnel",
        ),
        (
            "달리는 선수들",
            "이번엔 {subject:호루라기를 부는 호랑이} 그려줘. {look:수채화}로",
            "호루라기를 부는 호랑이, 수채화",
        ),
    ],
)
def test_after_words_for_another_picture_a_thing_is_its_subject(before: str, message: str, prompt: str) -> None:
    found = wished(before, message)
    assert (found.prompt, found.seed) == (prompt, None)


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        (
            "um robô com um gatinho",
            "troca o {old:gatinho} por {new:um jacaré} e deixa o {old:robo} {quality:dourado}!",
            "um robô dourado com um jacaré",
        ),
        (
            "ロケットに乗ったくま",
            "{old:くま}じゃなくて{new:ペンギン}がいい！{old:ロケット}は{quality:金色}にして！",
            "金色のロケットに乗ったペンギン",
        ),
    ],
)
def test_one_thing_is_replaced_and_another_one_gets_a_quality(before: str, message: str, prompt: str) -> None:
    assert wished(before, message).prompt == prompt


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("красная машина на дороге", "{added:зелёная змея вокруг дерева}"),
        ("a red car on a road", "{added:a green snake around a tree}"),
        ("ein rotes Auto", "{subject:Kohlezeichnung einer alten Schmiedin}"),
        ("une voiture rouge", "{subject:gravure d'un poulpe géant}"),
        ("красная машина", "{subject:портрет барсука в дождевике}"),
    ],
)
def test_a_message_that_is_only_a_thing_of_some_words_is_another_subject(before: str, message: str) -> None:
    found = wished(before, message)
    assert (found.prompt, found.seed) == (message.strip("{}").partition(":")[2], None)


def test_a_thing_of_a_word_or_two_is_added() -> None:
    assert wished("a red car on a road", "{added:a hat}").prompt == "a red car on a road, a hat"


def test_a_denial_without_a_thing_changes_nothing() -> None:
    assert wished("een rode auto op een weg", "omslag van het boek Zonder Titel").prompt == "een rode auto op een weg"


def test_a_number_beside_another_subject_is_at_most_the_one_that_conditions_allow() -> None:
    found = wished("a red car", "now {number:5000} of {subject:a big dog} please")
    assert (found.prompt, found.n) == ("a big dog", 1000)
