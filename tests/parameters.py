"""Parameters of tests of which only a few run in the suite."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def long_except(values: Iterable[str], *in_suite: str) -> list[Any]:
    """`values` as parameters. All but those `in_suite` are long: `make test-long` runs them."""
    return [value if value in in_suite else pytest.param(value, marks=pytest.mark.long) for value in values]


on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For a test of cases that are decided without the database, or alike with each: SQLite alone."""
