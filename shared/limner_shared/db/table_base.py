"""The conventions of all tables: names of constraints, the types of columns, partial indexes."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from sqlalchemy import JSON, Double, MetaData, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase

NAMING: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
Json = JSON().with_variant(JSONB(), "postgresql")
NullableJson = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""JSON in which None is NULL, also among the rows of one INSERT."""


def partial_index(condition: str) -> dict[str, Any]:
    """The options of an index on the rows that meet a condition. Most jobs have ended, and these indexes do not store
    them.
    """
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


class Base(DeclarativeBase):
    """The base of all tables. Times are seconds since 1970 (float64) by the database's clock, for both databases
    alike.
    """

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {float: Double, dict[str, Any]: Json}
