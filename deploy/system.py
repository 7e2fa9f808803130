"""Copy what an image needs of its base, a Debian, to a new root: Python, a shell with the usual tools, and libraries.

    python system.py ROOT FOLDER…

ROOT gets whole Debian packages: those that Python and the programs and libraries in the FOLDERs are linked to, and
PACKAGES. Its list of packages is the base's without the others, so that a scanner for vulnerabilities finds them.
"""  # noqa: INP001 - a script, in no package

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

PACKAGES: Final = ("base-files", "ca-certificates", "coreutils", "dash", "findutils", "libc-bin", "netbase", "tzdata")
"""What no library is linked to: a shell and its tools, for the command of backup and for a look into a container."""
LEFT_OUT: Final = re.compile(
    r"/usr/share/(info|lintian|locale|man)/|/usr/lib/[^/]+/gconv/|/usr/share/doc/(?!.*copyright$)"
)
"""Manuals, translations, and the character sets of iconv: Python has its own."""
CONFIGURED: Final = ("etc/group", "etc/ld.so.conf", "etc/ld.so.conf.d", "etc/nsswitch.conf", "etc/passwd", "etc/ssl")
"""What no package contains because its installation writes it."""
STATUS: Final = "var/lib/dpkg/status"
NOT_RUN: Final = ("ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "tkinter", "turtledemo")
"""Parts of Python's own library that no process imports; its `site-packages` has pip alone."""
PYTHON: Final = Path("/usr/local")


def linked(files: Iterable[Path]) -> set[str]:
    """The names of the libraries of the system that programs and libraries are linked to."""
    said = _output("ldd", *map(str, files), may_fail=True)
    return {Path(found).name for found in re.findall(r"^\s+(?:\S+ => )?(/(?:usr/)?lib\S+) \(", said, re.MULTILINE)}


def owners(libraries: Iterable[str]) -> set[str]:
    """The packages of libraries."""
    said = _output("dpkg-query", "--search", *(f"*/{name}" for name in sorted(libraries)))
    return {package for line in said.splitlines() for package in line.split(": ")[0].split(", ")}


def files_of(packages: Iterable[str]) -> list[Path]:
    """The files of packages that the image gets."""
    paths = {line for line in _output("dpkg-query", "--listfiles", *packages).splitlines() if line.startswith("/")}
    return [Path(path) for path in sorted(paths) if path != "/." and not LEFT_OUT.search(path)]


def status_of(status: str, packages: Iterable[str]) -> str:
    """The entries of packages in dpkg's list."""
    kept = {package.split(":")[0] for package in packages}
    entries = [entry for entry in status.split("\n\n") if entry.partition("\n")[0].removeprefix("Package: ") in kept]
    return "".join(f"{entry.strip()}\n\n" for entry in entries)


def copy(source: Path, root: Path, base: Path = Path("/")) -> None:
    """Copy a file, a folder without its content, or a link to the same place below `root`.

    A path may lead through a link: Debian's /bin is one to /usr/bin.
    """
    target = root / (source.parent.resolve() / source.name).relative_to(base)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir() and not source.is_symlink():
        target.mkdir(exist_ok=True)
        shutil.copystat(source, target)
    elif source.exists() and not os.path.lexists(target):
        shutil.copy2(source, target, follow_symlinks=False)


def copy_python(root: Path) -> None:
    """Copy Python without NOT_RUN."""
    library = PYTHON / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for file in [*PYTHON.glob("bin/python*"), *PYTHON.glob("lib/libpython*.so*")]:
        copy(file, root)
    ignore = shutil.ignore_patterns(*NOT_RUN, "config-*", "_tkinter*")
    shutil.copytree(library, root / library.relative_to("/"), symlinks=True, ignore=ignore)


def main(arguments: Sequence[str]) -> None:
    """Make the root."""
    root, *folders = map(Path, arguments)
    tools = [path for path in files_of(PACKAGES) if path.parent.name in ("bin", "sbin")]
    programs = [*tools, Path(sys.executable).resolve()]
    libraries = [file for folder in [PYTHON, *folders] for file in folder.rglob("*.so*") if file.is_file()]
    packages = owners(linked([*programs, *libraries])) | set(PACKAGES)
    for name in ("bin", "lib", "lib64", "sbin"):
        copy(Path("/", name), root)
    for path in files_of(packages):
        copy(path, root)
    for name in CONFIGURED:
        for path in [Path("/", name), *Path("/", name).rglob("*")]:
            copy(path, root)
    copy_python(root)
    (root / STATUS).parent.mkdir(parents=True, exist_ok=True)
    (root / STATUS).write_text(status_of(Path("/", STATUS).read_text("utf-8"), packages), "utf-8")
    _output("ldconfig", "-r", str(root))


def _output(*command: str, may_fail: bool = False) -> str:
    return subprocess.run(command, check=not may_fail, capture_output=True, text=True).stdout  # noqa: S603


if __name__ == "__main__":
    main(sys.argv[1:])
