"""Print a lock file: the installed versions of the given requirements and their transitive dependencies.

Each version has the SHA-256 of every file that the package index offers for it.

`lock.py 'limner[web]'` locks an image; `lock.py --dev` locks the development environment; `lock.py --torch` prints the
only package without hashes, because machines need different builds of it. To update a package, run
`.venv/bin/pip install -U NAME`, then `make lock`, then `make test lint`.
"""  # noqa: INP001 - a script, in no package

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import uv
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

HEADER: Final = """\
# Every package but torch (torch.lock), pinned by version and content. Written by `make lock`; installed with
# --no-deps --require-hashes.
"""
UNHASHED: Final = "torch"
"""The package without hashes: its builds for CPU and CUDA come from different indexes."""


def needed(requirement: Requirement, seen: dict[tuple[str, str], str]) -> None:
    """Add the versions of a requirement and its transitive dependencies to `seen`, by name and extra."""
    name = canonicalize_name(requirement.name)
    for extra in ("", *sorted(requirement.extras)):
        if (name, extra) in seen:
            continue
        found = distribution(name)
        seen[name, extra] = Version(found.version).public
        for line in found.requires or []:
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                needed(wanted, seen)


def roots(arguments: list[str]) -> list[Requirement]:
    """Parse the requirements; `--dev` means the project with all extras and development tools."""
    if arguments != ["--dev"]:
        return [Requirement(argument) for argument in arguments]
    groups = tomllib.loads(Path("pyproject.toml").read_text())["dependency-groups"]
    return [Requirement("limner[all]"), *map(Requirement, groups["dev"])]


def main() -> int:
    """Print the lock; exits with code 1 and names the first required package that is not installed."""
    if sys.argv[1:] == ["--torch"]:
        sys.stdout.write(f"{UNHASHED}=={Version(distribution(UNHASHED).version).public}\n")
        return 0
    seen: dict[tuple[str, str], str] = {}
    try:
        for root in roots(sys.argv[1:]):
            needed(root, seen)
    except PackageNotFoundError as error:
        sys.stderr.write(f"{error.name} is required but not installed: .venv/bin/pip install {error.name}\n")
        return 1
    versions = {name: version for (name, _), version in seen.items() if name not in ("limner", UNHASHED)}
    sys.stdout.write(HEADER + hashed([f"{name}=={versions[name]}" for name in sorted(versions)]))
    return 0


def hashed(pins: list[str]) -> str:
    """Add the hashes of all files to the pins. Raises CalledProcessError if the index does not answer."""
    command = [uv.find_uv_bin(), "pip", "compile", "-", "--no-deps", "--generate-hashes", "--universal"]
    command += ["--python-version", "3.11", "--no-header", "--no-annotate", "--quiet"]
    return subprocess.run(command, input="\n".join(pins), capture_output=True, text=True, check=True).stdout  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
