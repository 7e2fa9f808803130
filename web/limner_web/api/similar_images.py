"""Images that are like one of the tenant's images."""

from __future__ import annotations

import re
from typing import Final

from apiflask import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field

from limner_shared.db import embeddings, queries
from limner_shared.db.search import JobFilter
from limner_shared.db.views import similar_image_view
from limner_shared.domain.embeddings import Embedding
from limner_shared.domain.ids import first_id
from limner_shared.domain.image_views import SimilarImages, SimilarImageView
from limner_shared.domain.labels import MAX_TAG_CHARS, read_tag
from limner_shared.domain.scheduling import Moment
from limner_shared.errors import InvalidRequest
from limner_web.auth import tenant_id
from limner_web.pictures.vector_cache import Place
from limner_web.request_checks import ID_PATTERN
from limner_web.services import Services, get_services

bp = APIBlueprint("similar_images", __name__, url_prefix="/api/v1/images", tag="Images")

CANDIDATES: Final = 1000
"""Images that are compared with the filters for each page."""
NO_VECTOR: Final = (
    "similar_to: this image cannot be compared with others, because the worker that made it had no evaluator for its"
    " model: choose another image."
)
CURSOR: Final = re.compile(r"(-?[0-9]{1,8})_(img_[0-9a-z]{1,32})")


class SimilarQuery(BaseModel):
    """The image, the filters and the page of the list."""

    model_config = ConfigDict(extra="forbid")
    similar_to: str = Field(pattern=f"^{ID_PATTERN}$", description="The image that the others are compared with.")
    model: str | None = Field(default=None, description="Only images of this model.")
    bulk: str | None = Field(default=None, description="Only images of this bulk, by its id.")
    conversation: str | None = Field(default=None, max_length=40, description="Only images of this conversation.")
    favourite: bool = Field(default=False, description="Only favourites, and images of favourite jobs.")
    tag: str | None = Field(
        default=None, max_length=MAX_TAG_CHARS, description="Only images with this tag, or whose job has it."
    )
    created_after: Moment | None = Field(
        default=None, description="Only images of jobs accepted at this time or later, as RFC 3339 writes it."
    )
    created_before: Moment | None = Field(default=None, description="Only images of jobs accepted before this time.")
    limit: int = Field(default=20, ge=1, le=100, description="The largest number of images per page.")
    cursor: str | None = Field(
        default=None, max_length=50, description="The value of `next` from the previous page, with the same filters."
    )

    @property
    def filter(self) -> JobFilter:
        """The filters. Raises InvalidRequest."""
        return JobFilter(
            model=self.model,
            bulk_id=self.bulk,
            conversation_id=self.conversation,
            favourite=self.favourite,
            tag=None if self.tag is None else read_tag(self.tag),
            from_id=None if self.created_after is None else first_id("job", self.created_after.timestamp()),
            before_id=None if self.created_before is None else first_id("job", self.created_before.timestamp()),
        )

    @property
    def after(self) -> Place | None:
        """The place after which the page begins. Raises InvalidRequest."""
        if self.cursor is None:
            return None
        found = CURSOR.fullmatch(self.cursor)
        if found is None:
            raise InvalidRequest("cursor: it belongs to another list; begin without one.", field="cursor")
        return Place(int(found[1]), found[2])


@bp.get("")
@bp.input(SimilarQuery, location="query", arg_name="query")
@bp.output(SimilarImages)
@bp.doc(responses={404: "There is no image `similar_to`"})
def list_similar_images(query: SimilarQuery) -> SimilarImages:
    """List similar images.

    Returns your images that look most like the image `similar_to` and meet all filters, the most similar first. Your
    newest 200,000 images are compared; those of models without an evaluator cannot be. A page may have fewer images
    than `limit`, or none, although more follow: the list ends where `next` is null.
    """
    services, tenant = get_services(), tenant_id()
    with services.database.read() as session:
        image = queries.image(session, tenant, query.similar_to)
        like = embeddings.embeddings_of(session, [image.id]).get(image.id)
    if like is None:
        raise InvalidRequest(NO_VECTOR, field="similar_to")
    return _page(services, tenant, image.id, like, query)


def _page(services: Services, tenant: str, image_id: str, like: Embedding, query: SimilarQuery) -> SimilarImages:
    # Without a filter only the image itself, and deleted ones, are left out.
    count = 2 * query.limit if query.filter == JobFilter() else CANDIDATES
    ranked = services.vectors.rank(tenant, like, count + 1, query.after)
    candidates = [place for place in ranked[:count] if place.image_id != image_id]
    with services.database.read() as session:
        ids = [place.image_id for place in candidates]
        matches = embeddings.match(session, tenant, ids, query.filter)
        hits = [place for place in candidates if place.image_id in matches.matching]
        shown = hits[: query.limit]
        rows = embeddings.images_with_jobs(session, tenant, [place.image_id for place in shown])
        labels = queries.labels(session, [job.id for _, job in rows.values()])
        items: list[SimilarImageView] = []
        for place in shown:
            if place.image_id in rows:
                found, job = rows[place.image_id]
                items.append(similar_image_view(found, job, labels.get(job.id, []), place.similarity))
    services.vectors.forget(tenant, like.encoder, set(ids) - matches.existing)
    more = len(hits) > query.limit
    last = shown[-1] if more else ranked[count - 1] if len(ranked) > count else None
    return SimilarImages(items=items, next=None if last is None else f"{last.score}_{last.image_id}")
