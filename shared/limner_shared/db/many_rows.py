"""Statements on many rows: their text and their cost in this process do not depend on how many rows they are for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    JSON,
    ColumnElement,
    Insert,
    Table,
    Text,
    Update,
    bindparam,
    cast,
    column,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import Boolean, TypeDecorator, TypeEngine

from limner_shared.db.engine import now

ROWS: Final = "rows"
"""The one parameter of an INSERT of many rows."""
NO_SYNC: Final = {"synchronize_session": False}
"""Execution options of a statement after which no object loaded before is used."""


class _Texts(TypeDecorator[list[str]]):
    """Texts as one bound value: an array in PostgreSQL, JSON in SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type in this database."""
        return postgresql.ARRAY(Text()) if dialect.name == "postgresql" else Text()

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


def among_those(column: Any, parameter: str) -> ColumnElement[bool]:
    """The same for a statement that is made once: it is executed with the values as the parameter of this name."""
    return _Among(column, bindparam(parameter, type_=_Texts()))


def insert_many(
    session: Session,
    table: type[DeclarativeBase],
    rows: Sequence[Mapping[str, Any]],
    *,
    times: Mapping[str, float] | None = None,
    skip_existing: tuple[str, ...] = (),
) -> None:
    """Insert rows without the ORM's work for each. Each row has the same keys: names of columns.

    `times` are columns that get the database's clock, each with the seconds that are added to it. A row whose columns
    `skip_existing` equal those of an existing one is skipped; safe with concurrent writers.

    PostgreSQL gets all rows as one JSON value: a message for each row costs both sides more than the row itself. SQLite
    has no messages.
    """
    if not rows:
        return
    dialect = session.get_bind().dialect.name
    statement = _insert(table, tuple(rows[0]), tuple((times or {}).items()), skip_existing, dialect)
    session.execute(statement, {ROWS: json.dumps(rows, default=_as_text)} if dialect == "postgresql" else rows)


def _as_text(value: object) -> str:
    """Bytes as PostgreSQL writes them. Raises TypeError for anything else that JSON does not know."""
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    raise TypeError(f"a row must not hold a {type(value).__name__}")


@cache
def _insert(
    table: type[DeclarativeBase],
    names: tuple[str, ...],
    times: tuple[tuple[str, float], ...],
    skip_existing: tuple[str, ...],
    dialect: str,
) -> Insert:
    target = _table(table)
    clocks = {name: now() + seconds for name, seconds in times}
    if dialect == "postgresql":
        columns = [column(name, target.c[name].type) for name in names]
        given = func.json_to_recordset(cast(bindparam(ROWS, type_=Text()), JSON)).table_valued(*columns)
        given = given.render_derived(with_types=True)
        filled = postgresql.insert(target).from_select([*names, *clocks], select(*given.c, *clocks.values()))
        return filled.on_conflict_do_nothing(index_elements=skip_existing) if skip_existing else filled
    new = sqlite.insert(target)
    filled = new.values(clocks) if clocks else new
    return filled.on_conflict_do_nothing(index_elements=skip_existing) if skip_existing else filled


def insert_from(table: type[DeclarativeBase]) -> Insert:
    """An INSERT to be completed with `from_select`, without the ORM's work. Its keys are names of columns."""
    return insert(_table(table))


def update_many(table: type[DeclarativeBase]) -> Update:
    """An UPDATE without the ORM's work. Its keys are names of columns; objects loaded before keep their old values."""
    return update(_table(table))


def _table(table: type[DeclarativeBase]) -> Table:
    return table.metadata.tables[table.__tablename__]
