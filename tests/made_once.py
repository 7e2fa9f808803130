"""Makes once for all tests what a process of the service makes once: compiled statements, templates and routes, and
certificates that are read.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from os import environ
from types import CodeType
from typing import Any, Final

import httpx
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
def made_once() -> Iterator[None]:
    """While it lasts, all this is kept for the databases, applications and clients that are created later."""
    with pytest.MonkeyPatch.context() as patch:
        _share_statements(patch)
        patch.setitem(APIFlask.jinja_options, "bytecode_cache", Templates())
        _share_rules(patch)
        _share_authorities(patch)
        patch.setattr("redis.utils.get_lib_version", cache(get_lib_version))  # it reads the package's metadata
        yield


def _share_statements(patch: pytest.MonkeyPatch) -> None:
    """Give all engines one cache of statements. A dialect is part of its keys: those of one kind become equal."""
    shared = LRUCache[Any, Any](STATEMENTS)
    kept = property(lambda _engine: shared, lambda _engine, _own: None)
    patch.setattr(Engine, "_compiled_cache", kept, raising=False)
    for dialect in (PGDialect_psycopg, SQLiteDialect_pysqlite):
        patch.setattr(dialect, "__eq__", _is_of_same_kind)
        patch.setattr(dialect, "__hash__", _hash_of_kind)


def _is_of_same_kind(one: object, other: object) -> bool:
    return type(one) is type(other)


def _hash_of_kind(one: object) -> int:
    return hash(type(one))


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


def _share_authorities(patch: pytest.MonkeyPatch) -> None:
    """Read the certificates of public authorities once: for each client of HTTP, it takes longer than a request."""
    create = httpx.create_ssl_context

    @cache
    def of_environment(_file: str | None, _folder: str | None, *, trust_env: bool) -> ssl.SSLContext:
        return create(trust_env=trust_env)

    def share(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
        if verify is not True or cert is not None:
            return create(verify, cert, trust_env)
        return of_environment(environ.get("SSL_CERT_FILE"), environ.get("SSL_CERT_DIR"), trust_env=trust_env)

    for module in ("httpx", "httpx._transports.default"):
        patch.setattr(f"{module}.create_ssl_context", share)
