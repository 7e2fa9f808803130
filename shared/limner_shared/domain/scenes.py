"""What a prompt is drawn as: a known name, or a scene of things, their relations and a background. No I/O."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from limner_shared.domain.receipt_values import ReceiptValue

Colour = Literal["red", "blue", "green", "yellow", "orange", "purple", "pink", "black", "white", "brown", "grey"]
RelationKind = Literal["left", "right", "above", "below", "front", "behind", "on", "inside", "wearing"]
Surroundings = Literal["night", "sky", "grass"]
Background = Surroundings | Colour
MOST_INSTANCES: Final = 12
"""The most instances of things in a scene."""


class NearestName(BaseModel):
    """When a prompt is drawn as one of the names that a model knows. All figures are cosines of embeddings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    least: float = Field(ge=-1, le=1, description="A prompt further than this from every name is drawn as it is.")
    keep: float = Field(ge=-1, le=1, description="A prompt at least this near to a name is drawn as it is.")
    margin: float = Field(
        default=0.0, ge=0, le=2, description="By so much may a name that the prompt contains be further than another."
    )


class SceneRule(BaseModel):
    """When a prompt is drawn as a scene of several things."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = Field(default=1, description="How scenes are read and put together.")
    most: int = Field(default=6, ge=1, le=8, description="The most things that are drawn for one picture.")
    least: float = Field(
        default=0.74, ge=-1, le=1, description="The least cosine of a word to the known name that is drawn for it."
    )


class SceneObject(BaseModel):
    """A thing in a scene."""

    model_config = ConfigDict(frozen=True)

    said: str = Field(description="The noun in the prompt.")
    name: str = Field(description="The known name that is drawn.")
    exact: bool = Field(default=True, description="Whether the name means what was said.")
    colour: Colour | None = None
    count: int = Field(default=1, ge=1, le=MOST_INSTANCES)


class SceneRelation(BaseModel):
    """How things stand to another one; both as places in the scene's list of objects."""

    model_config = ConfigDict(frozen=True)

    kind: RelationKind
    subjects: tuple[int, ...]
    object: int


class Scene(ReceiptValue):
    """What a picture is put together from."""

    objects: tuple[SceneObject, ...] = Field(min_length=1)
    relations: tuple[SceneRelation, ...] = ()
    background: Background = "white"
    most: int = Field(default=6, description="The most drawings.")
    left_out: tuple[str, ...] = Field(default=(), description="Words of the prompt that the picture does not show.")

    @property
    def faithful(self) -> bool:
        """Whether it shows everything that the prompt says."""
        return not self.left_out and all(each.exact for each in self.objects)

    @property
    def caption(self) -> str:
        """What it shows, in English words and numbers."""
        told = [
            " ".join(filter(None, (f"{each.count} ×" if each.count > 1 else "", each.colour, each.name)))
            for each in self.objects
        ]
        return ", ".join(told)

    @property
    def plain(self) -> bool:
        """Whether it is one thing without number, colour or relation, which needs no scene."""
        only = self.objects[0]
        return len(self.objects) == 1 and only.count == 1 and only.colour is None and self.background == "white"

    @property
    def drawings(self) -> tuple[int, ...]:
        """How many drawings each object gets; one with fewer drawings than instances shows some of them again."""
        drawings = [1] * len(self.objects)
        while sum(drawings) < self.most:
            lacking = [place for place, each in enumerate(self.objects) if each.count > drawings[place]]
            if not lacking:
                break
            drawings[min(lacking, key=lambda place: drawings[place])] += 1
        return tuple(drawings)
