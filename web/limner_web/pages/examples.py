"""The examples that the pages offer, in the language of the page. Tests prove that the default model can draw them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PROMPTS: Final[Mapping[str, tuple[str, ...]]] = {
    "en": ("red apple", "cat face", "rocket", "pizza", "sunflower", "octopus", "smiling face with sunglasses"),
    "de": (
        "roter Apfel",
        "Katzengesicht",
        "Rakete",
        "Pizza",
        "Sonnenblume",
        "Oktopus",
        "lächelndes Gesicht mit Sonnenbrille",
    ),
    "fr": ("pomme rouge", "tête de chat", "fusée", "pizza", "tournesol", "pieuvre", "visage avec lunettes de soleil"),
    "es": ("manzana roja", "cara de gato", "cohete", "pizza", "girasol", "pulpo", "cara sonriendo con gafas de sol"),
    "zh": ("红苹果", "猫脸", "火箭", "披萨", "向日葵", "章鱼", "墨镜笑脸"),
}
"""Prompts for the studio: the same things in each language, short ones first."""
MESSAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "en": ("a red car, please", "four pictures of a cat in flat style"),
    "de": ("ein rotes Auto, bitte", "vier Bilder von einer Katze im Stil flat"),
    "fr": ("une voiture rouge, merci", "quatre images de chat en style flat"),
    "es": ("un coche rojo, por favor", "cuatro imágenes de un gato en estilo flat"),
    "zh": ("请画一辆红色汽车", "四张 flat 风格的猫"),
}
"""Messages for the conversation: a red car, and four cats in the flat style."""
FOREIGN: Final = {
    "zh": "请画一个红苹果",
    "de": "ein Geist als 3d-Figur",
    "en": "a ghost as a 3d figure",
    "es": "un zorro",
}
"""Messages that show that every language is understood, by their language."""


def messages(language: str) -> tuple[str, ...]:
    """The messages offered on a page in this language: its own, and three of others."""
    others = [message for code, message in FOREIGN.items() if code != language]
    return (*MESSAGES[language], *others[:3])
