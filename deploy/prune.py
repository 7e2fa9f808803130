"""Delete from an image's environment what its processes never read, and compile what they import.

Run by that environment's Python while the image is built.
"""  # noqa: INP001 - a script, in no package

from __future__ import annotations

import importlib
import pkgutil
import shutil
import sys
import sysconfig
from itertools import chain
from pathlib import Path
from typing import Final

UNREAD: Final = ("*.a", "*.rlib", "*.c", "*.cpp", "*.h", "*.hpp", "*.proto", "*.pxd", "*.pyi", "*.pyx")
"""What only a compiler reads; c2pa's static library alone has 31 MB."""
UNUSED: Final = (
    *("PIL/_avif.*", "pillow.libs/libavif-*"),  # no format that the service takes or gives
    *("numpy/_core/_simd.*", "numpy/distutils/**/*", "numpy/f2py/**/*"),  # its tests and its compilers
)
PROCESSES: Final = ("limner_client", "limner_dispatcher", "limner_shared", "limner_web")
LATER: Final = ("authlib.oidc.core", "c2pa", "numpy", "obstore", "opentelemetry.sdk.trace", "psycopg", "PIL.ImageFont")
"""What they import only where it is needed."""
NOT_HERE: Final = "limner_client.mcp_server", "limner_client.cli.mcp"
"""Modules of an extra that the image lacks."""


def prune(packages: Path) -> None:
    """Delete UNREAD and UNUSED, the packages' own tests, locales of no page's language, and compiled modules."""
    for file in {*chain(*map(packages.rglob, UNREAD), *map(packages.glob, UNUSED))}:
        if file.is_file():
            file.unlink()
    for name in ("tests", "__pycache__"):
        for folder in [found for found in packages.rglob(name) if found.is_dir()]:
            shutil.rmtree(folder, ignore_errors=True)
    kept = {"root", "en", *languages(packages)}
    for file in packages.glob("babel/locale-data/*.dat"):
        if file.stem.split("_")[0] not in kept:
            file.unlink()


def languages(packages: Path) -> set[str]:
    """The languages of the pages besides English."""
    found = {file.stem for file in packages.glob("limner_web/pages/texts/*.po")}
    if not found:
        raise SystemExit("the catalogs of the pages are not where they were")
    return found


def compile_imported() -> None:
    """Import every module of the processes, so that it and what it imports is compiled: less than half of all.

    Raises ImportError if something that they need was deleted or is broken.
    """
    sys.dont_write_bytecode = False
    for name in (*LATER, *PROCESSES):
        importlib.import_module(name)
    for process in PROCESSES:
        for module in pkgutil.walk_packages(importlib.import_module(process).__path__, f"{process}."):
            if not module.name.endswith("__main__") and not module.name.startswith(NOT_HERE):
                importlib.import_module(module.name)


if __name__ == "__main__":
    prune(Path(sysconfig.get_paths()["purelib"]))
    compile_imported()
