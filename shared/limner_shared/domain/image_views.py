"""What the API answers about images that are alike."""

from __future__ import annotations

from pydantic import BaseModel, Field

from limner_shared.domain.views import ImageView


class SimilarImageView(ImageView):
    """An image that is like another one."""

    job: str = Field(description="The job that made it.")
    model: str
    similarity: float = Field(description="From -1 to 1; 1 for equal images. Comparable within one list only.")


class SimilarImages(BaseModel):
    """A page of images, the most similar first; `next` is the cursor of the next page, if there is one."""

    items: list[SimilarImageView]
    next: str | None
