"""The contact sheet: small images on one page, each labelled with its prompt and style."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFilter, ImageFont

COLUMNS: Final = 8
TILE: Final = 208
GAP: Final = 20
LABEL: Final = 52
MARGIN: Final = 44
HEADER: Final = 128
RADIUS: Final = 18
PAPER: Final = (247, 245, 240)
INK: Final = (38, 36, 44)
FAINT: Final = (132, 126, 138)
ACCENT: Final = (196, 78, 60)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class Tile:
    """An image as file bytes, with the two lines of text below it."""

    picture: bytes
    title: str
    subtitle: str


def contact_sheet(tiles: Sequence[Tile], title: str, subtitle: str, columns: int = COLUMNS) -> Image.Image:
    """Draw the tiles in rows of `columns`, in their order."""
    rows = -(-len(tiles) // columns)
    width = 2 * MARGIN + columns * TILE + (columns - 1) * GAP
    height = HEADER + MARGIN + rows * (TILE + LABEL) + (rows - 1) * GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 34), title, font=ImageFont.load_default(38), fill=INK)
    draw.text((MARGIN, 80), subtitle, font=ImageFont.load_default(17), fill=FAINT)
    draw.rectangle((MARGIN, 22, MARGIN + 56, 26), fill=ACCENT)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        _place(sheet, tile, MARGIN + column * (TILE + GAP), HEADER + row * (TILE + LABEL + GAP))
    return sheet


def _place(sheet: Image.Image, tile: Tile, left: int, top: int) -> None:
    with Image.open(io.BytesIO(tile.picture)) as opened:
        picture = opened.convert("RGB").resize((TILE, TILE), Image.Resampling.LANCZOS)
    mask = _rounded((TILE, TILE))
    shadow = Image.new("L", (TILE + 2 * GAP, TILE + 2 * GAP))
    shadow.paste(70, (GAP, GAP), mask)
    shadow = shadow.filter(ImageFilter.GaussianBlur(7))
    sheet.paste(INK, (left - GAP, top - GAP + 4), shadow)
    sheet.paste(picture, (left, top), mask)
    draw = ImageDraw.Draw(sheet)
    bold, light = ImageFont.load_default(15), ImageFont.load_default(13)
    draw.text((left + 4, top + TILE + 9), _fit(tile.title, bold, TILE - 8), font=bold, fill=INK)
    draw.text((left + 4, top + TILE + 30), _fit(tile.subtitle, light, TILE - 8), font=light, fill=FAINT)


def _rounded(size: tuple[int, int]) -> Image.Image:
    """Return a mask with smooth round corners: drawn at four times the size, then reduced."""
    large = Image.new("L", (size[0] * 4, size[1] * 4))
    ImageDraw.Draw(large).rounded_rectangle((0, 0, large.width - 1, large.height - 1), RADIUS * 4, fill=255)
    return large.resize(size, Image.Resampling.LANCZOS)


def _fit(text: str, font: Font, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"
