"""The table of uploaded files. Their bytes are in the picture store, in parts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from limner_shared.db.table_base import Base, NullableJson


class StoredFile(Base):
    """A file that a client uploaded, or the output of a batch, which is made when it is read. It is deleted when it
    expires.
    """

    __tablename__ = "files"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(255))
    purpose: Mapped[str] = mapped_column(String(40))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    parts: Mapped[int]  # stored in this many parts (`Blobs.put_file_part`)
    created_at: Mapped[float]
    expires_at: Mapped[float]
    batch_id: Mapped[str | None] = mapped_column(String(40))  # the batch whose output it is
    content_type: Mapped[str | None] = mapped_column(String(255))  # as the client says; never sent back as a type
    sha256: Mapped[str | None] = mapped_column(String(64))  # of the content; None for those from before migration 0016
    extra: Mapped[dict[str, Any] | None] = mapped_column(NullableJson)  # the client's own metadata

    __table_args__ = (Index("ix_files_listed", "tenant_id", "id"), Index("ix_files_expiry", "expires_at"))
