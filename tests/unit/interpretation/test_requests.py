"""Descriptions and follow-ups in eleven languages, judged as `bench/interpret.py` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench.interpret import (
    FIELDS,
    FOUND,
    GOAL_CLEAN,
    GOAL_F1,
    GOAL_SUBJECT,
    MENDED,
    PARTS,
    SCORED,
    SIZES,
    UNSEEN,
    by_language,
    is_accepted,
    is_changed,
)

from limner_shared.domain.conditions import Conditions, Turn
from limner_worker.stages.interpretation.language.files import LANGUAGES
from limner_worker.stages.interpretation.rules import interpret

STYLES = ("3d", "noto", "noto-v1", "flat")
DATA = Path(__file__).parents[2] / "data"
SEED = 7
FEWEST = 10
"""Of fewer descriptions in a language, a share means nothing."""


def rows_of(name: str, part: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]
    return [row for row in rows if row["part"] == part]


@pytest.mark.parametrize("part", SCORED)
def test_every_language_reaches_the_goals(part: Any):
    rows = rows_of("requests.jsonl", part)
    found = [interpret(row["text"], STYLES, (), SIZES) for row in rows]
    scores = by_language(rows, found)
    assert scores.keys() == {"all"} | {language.code for language in LANGUAGES}
    few = len(rows) < FEWEST * len(LANGUAGES)
    for code, each in scores.items() if not few else [("all", scores["all"])]:
        assert each["subject"] >= GOAL_SUBJECT, code
        assert each["clean"] >= GOAL_CLEAN or part not in MENDED, code
        assert all(each[name]["f1"] >= GOAL_F1 for name in FIELDS), code


def test_there_are_thirty_descriptions_in_each_language():
    rows = [row for part in PARTS for row in rows_of("requests.jsonl", part)]
    for language in LANGUAGES:
        assert sum(row["language"] == language.code for row in rows) >= 30, language.code


@pytest.mark.parametrize(
    "row",
    [row for part in PARTS if part not in (*UNSEEN, *FOUND) for row in rows_of("followups.jsonl", part)],
    ids=lambda row: row["message"],
)
def test_a_follow_up_changes_what_it_names(row: Any):
    before = Conditions(prompt=row["before"], n=row["pictures"], seed=SEED)
    found = interpret(row["message"], STYLES, (Turn(text=row["before"], conditions=before),), SIZES)
    assert found.prompt == row["prompt"]
    assert found.style == row.get("style")
    assert found.negative_prompt == row.get("negative", "")
    assert row.get("n") in (None, found.n)
    seed = row.get("seed", "")
    if seed == "new":
        assert found.seed is None
    elif seed:
        assert found.seed == (SEED if seed == "kept" else SEED + int(seed))


@pytest.mark.parametrize(
    ("text", "prompt", "asked"),
    [
        ("half a dozen drawings of a snail", "a snail", {"n": 6}),
        ("十五张猫的图片", "猫", {"n": 15}),
        ("고양이 그림 열두 장", "고양이", {"n": 12}),
        ("1,000 pictures of a cat", "a cat", {"n": 1000}),
        ("a no parking sign", "a no parking sign", {"negative_prompt": ""}),
        ("watercolor painting of a lighthouse", "watercolor painting of a lighthouse", {"style": None}),
        ("three watercolor paintings of a barn", "watercolor painting of a barn", {"n": 3}),
        ("a photo of a dog", "a photo of a dog", {"n": None}),
        ("Two dogs. One of them is reading", "Two dogs. One of them is reading", {"n": None}),
        ("um gato no telhado", "um gato no telhado", {"negative_prompt": ""}),
        ("a wall with three pictures", "a wall with three pictures", {"n": None}),
        ('a sign that says "no dogs"', 'a sign that says "no dogs"', {"negative_prompt": ""}),
        ("a triangle with a smiling face", "a triangle with a smiling face", {}),
        ("a man wearing 3d glasses", "a man wearing 3d glasses", {"style": None}),
        ("einundzwanzig Bilder von einem Pilz", "einem Pilz", {"n": 21}),
        ("quatre-vingt-dix-sept images d'un chat", "un chat", {"n": 97}),
        ("fünfhundertzwölf Bilder von einem Pilz", "einem Pilz", {"n": 512}),
        ("two pictures and a half", "two pictures and a half", {"n": None}),
        ("a girl's birthday is near, so draw a cake", "a cake", {}),
        ("a red fox in the snow, so draw it in 3d", "a red fox in the snow", {"style": "3d"}),
        ("a bowl of soup, but skip the spoon", "a bowl of soup", {"negative_prompt": "spoon"}),
        ("a wall and a drop of water", "a wall and a drop of water", {"negative_prompt": ""}),
        ("una jirafa con bufanda de 256x384", "una jirafa con bufanda", {"width": 256, "height": 384}),
        ("une ville sous la neige, carrée", "une ville sous la neige", {"width": 256, "height": 256}),
        ("ein Igel, weder Blätter noch Gras", "ein Igel", {"negative_prompt": "Blätter, Gras"}),
        ("As it rains, please draw a duck", "a duck", {}),
        ("ein Hund im Schnee, also mach es breit", "ein Hund im Schnee", {"width": 384, "height": 256}),
        ("please нарисуй белку", "белку", {}),
        ("thank you card with flowers", "thank you card with flowers", {}),
        ("a child writing a letter to say thank you", "a child writing a letter to say thank you", {}),
        ("eine Eule mit Hut, im Stil 3d", "eine Eule mit Hut", {"style": "3d"}),
        ("сова в очках, в стиле 3d", "сова в очках", {"style": "3d"}),
        ("책 읽는 부엉이, noto 스타일로요", "책 읽는 부엉이", {"style": "noto"}),
        ("a lantern in noto-v1", "a lantern", {"style": "noto-v1"}),
        ("a lamp, 00x64", "a lamp", {"width": None}),
        ("고양이 없는 방", "방", {"negative_prompt": "고양이"}),
        ("집이 없는 들판", "들판", {"negative_prompt": "집"}),
        ("give me 3 diferent pictuers of a robot", "a robot", {"n": 3}),
    ],
)
def test_what_was_read_wrongly_before(text: str, prompt: str, asked: dict[str, Any]):
    found = interpret(text, STYLES, (), SIZES)
    assert found.prompt == prompt
    assert {name: getattr(found, name) for name in asked} == asked


@pytest.mark.parametrize(
    ("text", "prompt", "size"),
    [
        ("we run a coffee shop and need a wide banner: a steaming cup", "a steaming cup", (384, 256)),
        ("Notre boulangerie cherche une bannière en flat design : des baguettes", "des baguettes", (384, 256)),
        ("somos uma barbearia e queremos um cartaz vertical com uma tesoura", "uma tesoura", (256, 384)),
        ("小さなパン屋です。横長のバナーをお願いします。食パン", "食パン", (384, 256)),
        ("a banner with a lion", "a banner with a lion", None),
    ],
)
def test_what_a_picture_is_needed_for_is_not_drawn(text: str, prompt: str, size: tuple[int, int] | None):
    found = interpret(text, STYLES, (), SIZES)
    assert (found.prompt, found.width and (found.width, found.height)) == (prompt, size)


@pytest.mark.parametrize(
    ("text", "prompt", "size"),
    [
        ("猫がいる風景を油絵で見てみたいです", "猫がいる風景を油絵", None),
        ("Graag een staand beeld van tulpen in een emmer", "tulpen in een emmer", (256, 384)),
        ("phone wallpaper pls pastel balloons", "pastel balloons", (256, 384)),
        ("Заставку на телефон бы: берёзовая роща", "берёзовая роща", (256, 384)),
        ("가로 배너 만들어줘. 통닭, 노란 조명", "통닭, 노란 조명", (384, 256)),
    ],
)
def test_a_format_or_medium_at_an_edge_is_read(text: str, prompt: str, size: tuple[int, int] | None):
    found = interpret(text, STYLES, (), SIZES)
    assert (found.prompt, found.width and (found.width, found.height)) == (prompt, size)


def test_an_answer_that_a_reader_took_for_right_counts_as_meant():
    row = {"prompt": "a cat, brighter and softer", "also": [{"prompt": "a cat, brighter, softer"}], "seed": "kept"}
    answer = Conditions(prompt="a cat, brighter, softer", n=1, seed=SEED)
    assert is_accepted(row, answer)
    assert not is_changed(row, answer)
    assert not is_accepted(row, answer.model_copy(update={"negative_prompt": "a dog"}))
