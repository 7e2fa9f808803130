"""The tables of keys, of the changes to keys and tenants, and of what a tenant keeps for its pages."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, false
from sqlalchemy.orm import Mapped, mapped_column

from limner_shared.db.table_base import Base, partial_index

EXPIRING: Final = "expires_at IS NOT NULL AND revoked_at IS NULL AND NOT expiry_recorded"
"""The condition of a key whose expiry is still to be recorded; see `tables`."""


class ApiKey(Base):
    """A credential of a tenant. The secret is never stored: `digest` is its SHA-256 in hex."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    label: Mapped[str] = mapped_column(String(100))
    digest: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[str] = mapped_column(String(60), server_default="read submit")  # access.Scope, separated by spaces
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    expiry_recorded: Mapped[bool] = mapped_column(default=False, server_default=false())  # in the audit log
    last_used_at: Mapped[float | None]  # at most one write per minute
    replaced_by: Mapped[str | None] = mapped_column(String(40))  # the key that a rotation made
    revoked_at: Mapped[float | None]
    __table_args__ = (
        Index(None, "tenant_id", "created_at", "id"),
        Index(None, "label"),
        Index("ix_api_keys_expiring", "expires_at", **partial_index(EXPIRING)),
    )


class AuditEntry(Base):
    """A change of a key or a tenant, without secrets. The database refuses to change or delete an entry.

    `actor` is the id of the key that made the change, or one of `audit`'s names. `subject` is the id of the key,
    tenant or pause that was changed.
    """

    __tablename__ = "audit_log"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    actor: Mapped[str] = mapped_column(String(40))
    action: Mapped[str] = mapped_column(String(20))
    subject: Mapped[str] = mapped_column(String(40))
    detail: Mapped[dict[str, Any]]
    created_at: Mapped[float]
    __table_args__ = (Index(None, "tenant_id", "id"),)


class Preset(Base):
    """Settings that a tenant keeps under a name (`domain.presets.PresetSettings`)."""

    __tablename__ = "presets"
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(50), primary_key=True)
    settings: Mapped[dict[str, Any]]
    updated_at: Mapped[float]
