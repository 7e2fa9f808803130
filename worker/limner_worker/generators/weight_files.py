"""Finds the folder of a card's weights, and hashes the files in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from limner_shared.domain.card_fields import Source
from limner_shared.errors import CardError


def locate(source: Source) -> Path:
    """Return the local folder of a card's source. Raises CardError if it does not exist or the source is on a hub."""
    if source.package is not None:
        package, _, folder = source.package.partition(":")
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise CardError(f"The package {package!r}, which holds this model's weights, is not installed.")
        path = Path(spec.submodule_search_locations[0]) / folder
    elif source.folder is not None:
        path = source.folder
    else:
        raise CardError(f"{source.hub!r} is on a hub, but this family reads local folders only.")
    if not path.is_dir():
        raise CardError(f"The model's folder {path} does not exist.")
    return path


def checked_hashes(folder: Path, expected: Mapping[str, str]) -> dict[str, str]:
    """Return the SHA-256 in hex of each weights file in a folder and its subfolders.

    Raises CardError for a file that is missing or differs from what the card expects.
    """
    found = weight_hashes(folder)
    require_hashes(found, expected)
    return found


def weight_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 in hex of each weights file in a folder and its subfolders."""
    return file_hashes(folder, "*.safetensors")


def file_hashes(folder: Path, pattern: str) -> dict[str, str]:
    """Return the SHA-256 in hex of each file of such a name in a folder and its subfolders, of which some may be links
    to parts of another model.
    """
    # A search follows a link only at its beginning. One to a folder around this one would have all of it again.
    parts = [part for part in sorted(folder.iterdir()) if part.is_dir() and not _surrounds(part, folder)]
    files = [*folder.glob(pattern), *(file for part in parts for file in part.rglob(pattern))]
    # A pipe or a device of that name would never end.
    names = {file.relative_to(folder).as_posix(): file for file in files if file.is_file()}
    return {name: sha256(names[name]) for name in sorted(names)}


def _surrounds(part: Path, folder: Path) -> bool:
    return folder.resolve().is_relative_to(part.resolve())


def require_hashes(found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """Raise CardError for a file that is missing or differs from what the card expects."""
    for name, digest in expected.items():
        if found.get(name) != digest.lower():
            raise CardError(f"sha256: {name} has {found.get(name, 'no such file')}, but the card expects {digest}.")


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
