"""The language files: how each language asks for pictures, and how it says what stands where.

One TOML file for each language. The interpreter and the reader of scenes each validate the tables that they use.
"""

from __future__ import annotations

import json
import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

from pydantic import AfterValidator


def _checked(source: str) -> str:
    """Return the source. Raise ValueError if it is not a regular expression once its placeholders are filled."""
    try:
        re.compile(re.sub(r"\{[a-z]+\}", "x", source))
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}: {source}") from error
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
