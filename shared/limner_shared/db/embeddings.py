"""Reads the vectors of images, and the images that are compared by them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import ColumnElement, Row, Select, exists, select
from sqlalchemy.orm import Session

from limner_shared.db.library_tables import ImageEmbedding, Label
from limner_shared.db.many_rows import among
from limner_shared.db.search import JobFilter, filtered
from limner_shared.db.tables import Image, Job
from limner_shared.domain.embeddings import VECTOR_BYTES, Embedding


class Matches(NamedTuple):
    """Those of some images that exist, and those of them that meet a filter."""

    existing: set[str]
    matching: set[str]


def embeddings_of(session: Session, image_ids: Collection[str]) -> dict[str, Embedding]:
    """The embeddings of these images; those without one are left out, and damaged ones."""
    query = select(ImageEmbedding.image_id, ImageEmbedding.encoder, ImageEmbedding.vector)
    rows = session.execute(query.where(among(ImageEmbedding.image_id, image_ids)))
    return {row.image_id: Embedding(row.encoder, row.vector) for row in rows if len(row.vector) == VECTOR_BYTES}


def newest_vectors(
    session: Session, tenant_id: str, encoder: str, limit: int, before: str | None
) -> Sequence[Row[str, bytes]]:
    """A tenant's newest vectors of an encoder, each with its image's id, newest first, older than the id `before`."""
    query = _vectors(tenant_id, encoder).order_by(ImageEmbedding.image_id.desc()).limit(limit)
    if before is not None:
        query = query.where(ImageEmbedding.image_id < before)
    return session.execute(query).all()


def ids_since(session: Session, tenant_id: str, encoder: str, first: str) -> set[str]:
    """The ids of a tenant's images with a vector of this encoder, from the id `first` on."""
    mine = (ImageEmbedding.tenant_id == tenant_id) & (ImageEmbedding.encoder == encoder)
    return set(session.scalars(select(ImageEmbedding.image_id).where(mine, ImageEmbedding.image_id >= first)))


def vectors_of(session: Session, tenant_id: str, encoder: str, image_ids: Collection[str]) -> Sequence[Row[str, bytes]]:
    """The vectors of these images of a tenant, each with its image's id."""
    return session.execute(_vectors(tenant_id, encoder).where(among(ImageEmbedding.image_id, image_ids))).all()


def match(session: Session, tenant_id: str, image_ids: Collection[str], which: JobFilter) -> Matches:
    """Compare images with a filter: its labels are those of an image or of its job, the rest is about its job."""
    meets = filtered(tenant_id, replace(which, tag=None, favourite=False))
    for label in which.labels:
        meets &= _labelled(tenant_id, label)
    query = select(Image.id, meets.label("meets")).join(Job, Job.id == Image.job_id)
    rows = session.execute(query.where(among(Image.id, image_ids), Job.tenant_id == tenant_id)).all()
    return Matches({row.id for row in rows}, {row.id for row in rows if row.meets})


def images_with_jobs(session: Session, tenant_id: str, image_ids: Collection[str]) -> dict[str, tuple[Image, Job]]:
    """Those of these images that are the tenant's, each with its job."""
    query = select(Image, Job).join(Job, Job.id == Image.job_id)
    rows = session.execute(query.where(among(Image.id, image_ids), Job.tenant_id == tenant_id))
    return {row[0].id: (row[0], row[1]) for row in rows}


def _vectors(tenant_id: str, encoder: str) -> Select[str, bytes]:
    mine = (ImageEmbedding.tenant_id == tenant_id) & (ImageEmbedding.encoder == encoder)
    return select(ImageEmbedding.image_id, ImageEmbedding.vector).where(mine)


def _labelled(tenant_id: str, label: str) -> ColumnElement[bool]:
    of_image = (Label.job_id == Image.job_id) & Label.image_id.in_(("", Image.id))
    return exists().where((Label.tenant_id == tenant_id) & (Label.label == label) & of_image)
