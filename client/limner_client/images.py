"""The client's search for images that are alike."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from limner_client.parameters import parameter
from limner_shared.domain.image_views import SimilarImages

IMAGES: Final = "/api/v1/images"


class Images:
    """Images of one server's tenant. Raises what `Client` raises."""

    def __init__(self, call: Callable[..., Any]) -> None:
        """`call` sends a method, a path and httpx's options, and returns the answer's JSON."""
        self._call = call

    def similar(
        self, image_id: str, *, limit: int = 20, cursor: str | None = None, **filters: str | bool | datetime | None
    ) -> SimilarImages:
        """Return a page of your images that look like this one, the most similar first.

        `filters` are those of the API: `model`, `bulk`, `conversation`, `tag`, `favourite`, `created_after`,
        `created_before`. The list ends where `next` is None. InvalidRequest says that an image cannot be compared.
        """
        wanted = {"similar_to": image_id, "limit": limit, "cursor": cursor} | filters
        params = {name: parameter(value) for name, value in wanted.items() if value is not None}
        return SimilarImages.model_validate(self._call("GET", IMAGES, params=params))
