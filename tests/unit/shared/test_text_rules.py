"""Rules for texts: what a term matches, and which files of rules are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, cast

import pytest
from safetensors import safe_open

from limner_shared.domain.text_rules import BUILTIN, TextRules, load_rules, rules_of_terms
from limner_shared.errors import ConfigurationError

MODELS: Final = Path(__file__).parents[3] / "worker/limner_worker/models"


def rules(folder: Path, text: str) -> TextRules:
    """The rules of a file with this text."""
    file = folder / "rules.toml"
    file.write_text(text, "utf-8")
    return load_rules([str(file)])


@pytest.mark.parametrize(
    ("term", "hit", "miss"),
    [
        ("cat", "a CAT!", "concatenate, cats"),
        ("cat*", "two cats", "bobcat"),
        ("big red dog", "a big, red-dog house", "a big dog, red"),
        ("knife + blood", "blood on a knife", "a knife on bread"),
        ("café", "a CAFE\u0301", "coffee"),
        ("cat", "a c\u200bat", "a c at"),
        ("\uff43\uff41\uff54", "cat", "dog"),
        ("汽车", "一辆红色汽车", "一辆火车"),
    ],
)
def test_a_term_matches_words_and_not_their_parts(term: str, hit: str, miss: str) -> None:
    own = rules_of_terms((term,))
    assert own.categories([hit]) == ("blocked_terms",)
    assert own.categories([miss]) == ()


def test_a_rule_that_needs_several_words_finds_them_in_several_texts_together() -> None:
    assert rules_of_terms(("knife + blood",)).categories(["a knife", "now with blood"])


def test_a_list_stands_for_any_of_its_words(tmp_path: Path) -> None:
    found = rules(tmp_path, 'lists.pet = ["cat", "dog*"]\n[categories]\nodd = ["$pet + hat"]\nplain = ["hat"]')
    assert found.categories(["a hat for dogs"]) == ("odd", "plain")
    assert found.categories(["a hat for birds"]) == ("plain",)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("categories.a = [", "rules.toml"),
        ('categories.a = "cat"', "categories.a"),
        ('categories."A b" = ["cat"]', "categories"),
        ('other = ["x"]\n[categories]', "other"),
        ('categories.a = ["***"]', "a letter or a digit"),
        ('categories.a = ["c*t"]', "only allowed at the end"),
        ('categories.a = ["$none"]', "no list of this name"),
        ('categories.a = ["cat + "]', "a letter or a digit"),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused_with_its_fault(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match="LIMNER_MODERATION_RULES") as refused:
        rules(tmp_path, text)
    assert why in refused.value.message


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml"):
        load_rules(["none.toml"])


def test_the_builtin_rules_know_the_categories_that_the_documentation_names() -> None:
    builtin = load_rules([BUILTIN])
    assert builtin.categories(["a naked woman"]) == ("sexual",)
    assert builtin.categories(["a nude child"]) == ("sexual", "sexual/minors")
    assert builtin.categories(["a beheaded knight"]) == ("violence/graphic",)
    assert builtin.categories(["he thinks of suicide"]) == ("self-harm",)
    for text in ("a child with a kite", "a classic cocktail in Essex", "a knight with a sword", "analysis of grapes"):
        assert builtin.categories([text]) == (), text


def test_no_name_of_a_thing_that_the_built_in_models_draw_is_blocked() -> None:
    with safe_open(MODELS / "limner-text/names.safetensors", framework="np") as opened:
        names = json.loads(cast("Any", opened).metadata()["names"])
    builtin = load_rules([BUILTIN])
    assert len(names) > 1000
    assert [name for name in names if builtin.categories([name])] == []
