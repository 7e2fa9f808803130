"""Delete from an image's environment what its processes never read, and compile what they import.

Run by that environment's Python while the image is built.
"""  # noqa: INP001 - a script, in no package

from __future__ import annotations

import importlib
import pkgutil
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Final

STATIC: Final = ("*.a", "*.rlib")
"""Static libraries: c2pa's has 31 MB."""
PROCESSES: Final = ("limner_client", "limner_dispatcher", "limner_shared", "limner_web")


def prune(packages: Path) -> None:
    """Delete static libraries, the packages' own tests, locales of no page's language, and compiled modules."""
    for pattern in STATIC:
        for file in packages.rglob(pattern):
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
    """Import every module of the processes, so that it and what it imports is compiled: less than half of all."""
    sys.dont_write_bytecode = False
    for process in PROCESSES:
        for module in pkgutil.walk_packages(importlib.import_module(process).__path__, f"{process}."):
            if not module.name.endswith("__main__"):
                try:
                    importlib.import_module(module.name)
                except ImportError as error:
                    sys.stdout.write(f"not compiled: {module.name}: {error}\n")


if __name__ == "__main__":
    prune(Path(sysconfig.get_paths()["purelib"]))
    compile_imported()
