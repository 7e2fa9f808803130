"""Evaluators for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from limner_shared.domain.embeddings import Embedding
from limner_shared.domain.jobs import JobSpec
from limner_worker.stages.choosing import Likeness
from limner_worker.stages.recognising import Look


class Blind:
    """An evaluator that knows no words."""

    def look(self, pictures: Sequence[np.ndarray]) -> list[Look]:
        return [Look(Embedding("tower:1", b""), picture[0, 0].astype(np.float32)) for picture in pictures]

    def subject(self, spec: JobSpec) -> str | None:
        return None

    def recognises(self, look: Look, name: str, style: str | None = None) -> bool:
        return False

    def likeness(self, picture: np.ndarray, name: str, *, recoloured: bool) -> Likeness:
        return Likeness(recognised=False, margin=0.0)

    def resembled(self, look: Look, name: str) -> list[str]:
        return []

    def neighbours(self, name: str, language: str) -> list[str]:
        return []

    def fuller(self, spec: JobSpec) -> str | None:
        return None

    def language_for(self, spec: JobSpec) -> str:
        return "en"

    def translated(self, name: str, language: str) -> str:
        return name


class Judging(Blind):
    """Recognises any name in a light picture, in a grey one only if it was recoloured; every prompt means a cat."""

    def __init__(self, language: str = "en") -> None:
        self.language = language
        self.asked: list[str] = []
        self.styles: list[str | None] = []

    def subject(self, spec: JobSpec) -> str | None:
        return None if "unknown" in spec.prompt else "cat"

    def recognises(self, look: Look, name: str, style: str | None = None) -> bool:
        self.asked.append(name)
        self.styles.append(style)
        return bool(look.concept[0] > 200)

    def likeness(self, picture: np.ndarray, name: str, *, recoloured: bool) -> Likeness:
        self.asked.append(f"{name} in any colour")
        return Likeness(recognised=bool(picture[0, 0, 0] > 100), margin=0.0)

    def resembled(self, look: Look, name: str) -> list[str]:
        return ["dog"]

    def neighbours(self, name: str, language: str) -> list[str]:
        return [self.translated(each, language) for each in ("lion", "tiger")]

    def fuller(self, spec: JobSpec) -> str | None:
        return "a cat, a dog" if "chasing" in spec.prompt else None

    def language_for(self, spec: JobSpec) -> str:
        return self.language

    def translated(self, name: str, language: str) -> str:
        return name if language == "en" else f"{name} in {language}"
