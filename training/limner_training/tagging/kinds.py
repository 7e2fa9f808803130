"""The phrases of `phrases/` by language and kind; one in five of each kind is held out, to be judged by."""

from __future__ import annotations

import tomllib
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

HELD_OUT: Final = 5
"""One phrase of five is held out."""
_CLOSED: Final = frozenset(
    (
        "articles",
        "joins",
        "people",
        "signers",
        "sizes",
        "styles",
        "unwanted",
        "lacking",
        "mid",
        "leads",
        "having",
        "links",
    )
)
"""Kinds of phrases none of which is held out."""
Phrases = Mapping[str, Sequence[str]]


@cache
def phrases(language: str, *, held_out: bool) -> Phrases:
    """Return the phrases of a language by kind: those to train with, or those held out."""
    text = files("limner_training.tagging").joinpath("phrases", f"{language}.toml").read_text("utf-8")
    return {kind: split(kind, some, held_out=held_out) for kind, some in tomllib.loads(text).items()}


def split(kind: str, some: Sequence[str], *, held_out: bool) -> Sequence[str]:
    """Return the phrases of a kind to train with, or those held out; all of them if it would have none."""
    if kind in _CLOSED:
        return some
    return [each for each in some if (zlib.crc32(each.encode()) % HELD_OUT == 0) == held_out] or some
