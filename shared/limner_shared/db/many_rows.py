"""Statements on many rows: their text and their cost in this process do not depend on how many rows they are for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import ColumnElement, Insert, Table, Text, Update, bindparam, insert, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import Boolean, TypeDecorator, TypeEngine

NO_SYNC: Final = {"synchronize_session": False}
"""Execution options of a statement after which no object loaded before is used."""


class _Texts(TypeDecorator[list[str]]):
    """Texts as one bound value: an array in PostgreSQL, JSON in SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type in this database."""
        return ARRAY(Text()) if dialect.name == "postgresql" else Text()

    def process_bind_param(self, value: list[str] | None, dialect: Dialect) -> Any:
        """The value for this database's driver."""
        return value if dialect.name == "postgresql" else json.dumps(value)


class _Among(FunctionElement[bool]):
    """A comparison of its first clause with each of the texts of the second."""

    type = Boolean()
    inherit_cache = True

    def self_group(self, against: OperatorType | None = None) -> ColumnElement[Any]:
        """Itself: a comparison needs no `= 1` where a database has no booleans, and none of its indexes serves that."""
        return self


@compiles(_Among, "postgresql")
def _among_postgresql(element: _Among, compiler: SQLCompiler, **kw: Any) -> str:
    column, values = element.clauses
    return f"{compiler.process(column, **kw)} = ANY({compiler.process(values, **kw)})"


@compiles(_Among, "sqlite")
def _among_sqlite(element: _Among, compiler: SQLCompiler, **kw: Any) -> str:
    column, values = element.clauses
    return f"{compiler.process(column, **kw)} IN (SELECT value FROM json_each({compiler.process(values, **kw)}))"  # noqa: S608 - compiled parts


def among(column: Any, values: Iterable[str]) -> ColumnElement[bool]:
    """Whether a text column has one of these values. Unlike `in_`, it binds them as one value, so that the statement is
    compiled once and the server prepares it once, whatever their number.
    """
    return _Among(column, bindparam(None, list(values), type_=_Texts()))


def insert_many(table: type[DeclarativeBase]) -> Insert:
    """An INSERT for many rows at once, without the ORM's work for each row. Its keys are names of columns."""
    return insert(_table(table))


def update_many(table: type[DeclarativeBase]) -> Update:
    """An UPDATE without the ORM's work. Its keys are names of columns; objects loaded before keep their old values."""
    return update(_table(table))


def _table(table: type[DeclarativeBase]) -> Table:
    return table.metadata.tables[table.__tablename__]
