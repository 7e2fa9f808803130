"""The nouns of the tasks: things that the evaluator tells apart, with their names in every language of the interpreter.

`nouns.json` is made by `limner train nouns` from true drawings alone; nothing in it is chosen by hand or by a model's
pictures.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

NOUNS: Final = Path(__file__).parent / "nouns.json"


@dataclass(frozen=True)
class Noun:
    """A thing that can be drawn; `concept` is that of `data.Drawing`."""

    concept: str
    name: str
    styles: tuple[str, ...]
    """The styles whose drawing may be trained on, and which the evaluator recognises and finds as one thing."""
    held_out: tuple[str, ...]
    """The styles whose drawing is held out from every training."""
    colours: tuple[str, ...]
    """The colours of its drawings."""
    recolourable: bool
    """Whether most of it is of one material, and the evaluator still recognises it in other colours."""
    names: dict[str, str]
    """Its names in other languages."""

    def called(self, language: str) -> str:
        """Return its name in a language."""
        return self.name if language == "en" else self.names[language]


@cache
def nouns() -> tuple[Noun, ...]:
    """Return the nouns in a fixed order."""
    rows: list[dict[str, Any]] = json.loads(NOUNS.read_text("utf-8"))
    for row in rows:
        row.update({key: tuple(row[key]) for key in ("styles", "held_out", "colours")})
    return tuple(Noun(**row) for row in rows)


def save(found: list[Noun], file: Path) -> None:
    """Write nouns to a file, one a line."""
    lines = ",\n".join(json.dumps(asdict(noun), ensure_ascii=False) for noun in found)
    file.write_text(f"[\n{lines}\n]\n", "utf-8")
