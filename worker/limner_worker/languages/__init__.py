"""The language files: how each language asks for pictures, and how it says what stands where.

One TOML file for each language. The interpreter and the reader of scenes each validate the tables that they use, and
compile what they compose of them with `expression`, which refuses patterns whose search could take exponential time.
"""

from __future__ import annotations

import json
import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Final

from pydantic import AfterValidator

WIDE: Final = "\u2e80"
"""The first character of the scripts that are written without spaces (and of Korean, which has spaces)."""
_REPEATED_GROUPS: Final = re.compile(
    r"""\\. | \[\^?\]?(?:\\.|[^\]\\])*\]                             # an escape, a class: brackets here are characters
    | (?P<undoable>\)(?:[*+]|\{\d*,\}|\{(?:\d*,)?(?:[5-9]|\d{2,})\})(?!\+))  # more than four times, not possessive""",
    re.VERBOSE | re.DOTALL,
)


def expression(source: str, flags: re.RegexFlag = re.IGNORECASE) -> re.Pattern[str]:
    """Compile a pattern.

    Raise ValueError if it repeats a group more than four times and is not possessive (`)*+`, `)++`, `){0,9}+`). If such
    a group matches one text in two ways, a search that fails tries 2^n ways: "please can you please can you ..." would
    hang a worker. Each round of a possessive repeat is final, so it has to end where a word ends.
    """
    if any(match["undoable"] for match in _REPEATED_GROUPS.finditer(source)):
        raise ValueError(f"a group is repeated and not possessive: {source}")
    try:
        return re.compile(source, flags)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}: {source}") from error


def _checked(source: str) -> str:
    """Return the source. Raise ValueError if it is not a pattern once its placeholders are filled."""
    expression(re.sub(r"\{[a-z]+\}", "x", source))
    return source


Regex = Annotated[str, AfterValidator(_checked)]
"""The source of a regular expression; in braces are placeholders."""


@cache
def read() -> tuple[dict[str, Any], ...]:
    """Return the content of all language files, in the order that they name."""
    texts = [file.read_text("utf-8") for file in files(__name__).iterdir() if file.name.endswith(".toml")]
    return tuple(sorted(map(tomllib.loads, texts), key=lambda each: each["order"]))


def names(language: str) -> dict[str, str]:
    """Return the English names of what the built-in model draws by CLDR's names in a language.

    Empty for the languages that the model's own files have. `tools/language_names.py` writes these files.
    """
    file = files(__name__).joinpath("names", f"{language}.json")
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}
