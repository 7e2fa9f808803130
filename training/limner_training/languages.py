"""Training captions in languages other than English."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

LANGUAGES: Final = ("zh", "ja", "es", "de", "fr", "ru", "ko", "pt", "it")
"""CLDR locales of the training captions besides English."""
COLUMNS: Final = 7
"""Captions per concept and language; the first is the name."""
FRAMES: Final = {
    "zh": ("{it}的图片", "画一个{it}"),
    "ja": ("{it}の絵", "{it}のイラスト"),
    "es": ("un dibujo de {it}", "una imagen: {it}"),
    "de": ("ein Bild: {it}", "Zeichnung: {it}"),
    "fr": ("un dessin : {it}", "une image de {it}"),
    "ru": ("рисунок: {it}", "картинка: {it}"),
    "ko": ("{it} 그림", "{it} 이미지"),
    "pt": ("um desenho de {it}", "imagem: {it}"),
    "it": ("un disegno di {it}", "immagine: {it}"),
}


def foreign_captions(
    language: str, name: str, keywords: Sequence[str], counts: Counter[str]
) -> list[tuple[str, float]]:
    """Return at most `COLUMNS` captions with their relative frequencies, the name first.

    The frequency of a single keyword is divided by the number of concepts that share it.
    """
    others = sorted((keyword for keyword in keywords if keyword != name), key=lambda keyword: counts[keyword])
    result = [(name, 3.0), *((frame.format(it=name), 0.5) for frame in FRAMES[language])]
    result += [(keyword, 0.8 / counts[keyword]) for keyword in others[:3]]
    if others:
        result.append((", ".join([name, others[0]]), 0.3))
    return result[:COLUMNS]
