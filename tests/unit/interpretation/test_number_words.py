"""Numbers in words, composed of each language's number words."""

from __future__ import annotations

import re

import pytest

from limner_worker.stages.interpretation.language.files import BY_CODE
from limner_worker.stages.interpretation.language.number_words import number_in, number_pattern


@pytest.mark.parametrize(
    ("code", "text", "value"),
    [
        ("en", "nine hundred and ninety-nine", 999),
        ("en", "two dozen", 24),
        ("en", "2 dozen", 24),
        ("en", "1,000", 1000),
        ("de", "neunhundertneunundneunzig", 999),
        ("de", "1.000", 1000),
        ("es", "novecientos noventa y nueve", 999),
        ("es", "veintidós", 22),
        ("fr", "neuf cent quatre-vingt-dix-neuf", 999),
        ("fr", "soixante et onze", 71),
        ("pt", "novecentos e noventa e nove", 999),
        ("it", "novecentonovantanove", 999),
        ("it", "ventotto", 28),
        ("nl", "negenhonderdnegenennegentig", 999),
        ("nl", "tweeëntwintig", 22),
        ("ru", "девятьсот девяносто девять", 999),
        ("zh", "九百九十九", 999),
        ("zh", "两百", 200),
        ("ja", "九百九十九", 999),
        ("ja", "2ダース", 24),
        ("ko", "구백구십구", 999),
        ("ko", "스물한", 21),
    ],
)
def test_a_number_is_read_as_a_whole(code: str, text: str, value: int):
    language = BY_CODE[code]
    match = re.search(number_pattern(language), text, re.IGNORECASE)
    assert match is not None
    assert match.group() == text
    assert number_in(text, language) == value


@pytest.mark.parametrize("text", ["two three", "ten eleven", "five fifteen"])
def test_words_that_form_no_number_have_no_value(text: str):
    assert number_in(text, BY_CODE["en"]) is None
