"""Makes once for all databases and applications of the tests what a process of the service makes once for its own:
compiled statements, templates and routes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import CodeType
from typing import Any, Final

import pytest
from apiflask import APIFlask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from redis.utils import get_lib_version
from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule

STATEMENTS: Final = 4000
"""More than the tests of one process execute."""
OF_RULE: Final = ("_parts", "_trace", "_converters", "arguments")
"""What the compilation of a rule sets, and nothing changes afterwards."""
BUILDERS: Final = ("_build", "_build_unknown")
"""The methods that it makes for a rule."""


class Templates(BytecodeCache):
    """The code of templates."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        assert bucket.code is not None
        self._codes[bucket.key, bucket.checksum] = bucket.code


@contextmanager
def compiled_once() -> Iterator[None]:
    """While it lasts, the statements, templates and routes that are compiled are kept for what is created later."""
    with pytest.MonkeyPatch.context() as patch:
        _share_statements(patch)
        patch.setitem(APIFlask.jinja_options, "bytecode_cache", Templates())
        _share_rules(patch)
        patch.setattr("redis.utils.get_lib_version", cache(get_lib_version))  # it reads the package's metadata
        yield


def _share_statements(patch: pytest.MonkeyPatch) -> None:
    """Give all engines one cache of statements. A dialect is part of its keys: those of one kind become equal."""
    shared = LRUCache[Any, Any](STATEMENTS)
    kept = property(lambda _engine: shared, lambda _engine, _own: None)
    patch.setattr(Engine, "_compiled_cache", kept, raising=False)
    for dialect in (PGDialect_psycopg, SQLiteDialect_pysqlite):
        patch.setattr(dialect, "__eq__", lambda one, other: type(one) is type(other))
        patch.setattr(dialect, "__hash__", lambda one: hash(type(one)))


def _share_rules(patch: pytest.MonkeyPatch) -> None:
    """Copy what a rule is compiled to from an equal one: most of the time to create an application."""
    compiled: dict[object, Rule] = {}
    compile_rule = Rule.compile

    def copy(rule: Rule) -> None:
        first = compiled.setdefault((rule.rule, rule.subdomain, rule.merge_slashes, repr(rule.defaults)), rule)
        if first is rule:
            compile_rule(rule)
            return
        for name in OF_RULE:
            setattr(rule, name, getattr(first, name))
        for name in BUILDERS:
            setattr(rule, name, getattr(first, name).__func__.__get__(rule))

    patch.setattr(Rule, "compile", copy)
