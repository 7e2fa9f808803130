"""The contact sheet of the tasks: pictures with their prompts and verdicts."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from limner_training.tasks.judging import Verdict
from limner_training.tasks.localising import Pixels
from limner_training.tasks.prompts import TaskPrompt

COLUMNS: Final = 8
SIDE, CAPTION, GAP = 128, 44, 8
RIGHT, WRONG = (46, 125, 50), (198, 40, 40)


def save_sheet(shown: Sequence[tuple[TaskPrompt, Pixels, Verdict]], file: Path) -> None:
    """Write a PNG with eight pictures a row; a green frame and "yes" mark what the judge found right."""
    rows = -(-len(shown) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (SIDE + GAP) + GAP, rows * (SIDE + CAPTION + GAP) + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
    for number, (prompt, picture, verdict) in enumerate(shown):
        left = GAP + number % COLUMNS * (SIDE + GAP)
        top = GAP + number // COLUMNS * (SIDE + CAPTION + GAP)
        sheet.paste(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, top))
        colour = RIGHT if verdict.right else WRONG
        pen.rectangle((left - 2, top - 2, left + SIDE + 1, top + SIDE + 1), outline=colour, width=2)
        text = "\n".join(textwrap.wrap(f"{'yes' if verdict.right else 'no'}: {prompt.text}", 25)[:3])
        pen.multiline_text((left, top + SIDE + 4), text, fill=colour, font=font, spacing=2)
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(file)
