"""What the API answers about labels."""

from __future__ import annotations

from pydantic import BaseModel, Field


class CoverView(BaseModel):
    """The picture that stands for a tag."""

    url: str
    width: int


class TagView(BaseModel):
    """A tag of the tenant's jobs and images."""

    tag: str
    targets: int = Field(description="How many jobs and images have it.")
    images: int = Field(
        default=0,
        description="How many images these are, each counted once. Counting stops after 1000 jobs and images that have "
        "it, the newest.",
    )
    cover: CoverView | None = Field(description="The newest picture with it; null if it has none.")


class TagList(BaseModel):
    """The tags, those of the newest jobs first; at most 200."""

    items: list[TagView]
