"""Old names of commands, which work in this version only, with a warning on stderr."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import click


def _dead_letters(arguments: Sequence[str]) -> list[str]:
    rest = [word for word in arguments if word not in ("--retry", "--retry-all")]
    if "--retry-all" in arguments:
        return ["dead-letters", "retry", "--all", *rest]
    return ["dead-letters", "retry" if "--retry" in arguments else "list", *rest]


RENAMED: Final[dict[str, tuple[str, Callable[[Sequence[str]], list[str]]]]] = {
    "dead": ("dead-letters list|retry", _dead_letters),
    "pause": ("bulk pause", lambda arguments: ["bulk", "pause", *arguments]),
    "resume": ("bulk resume", lambda arguments: ["bulk", "resume", *arguments]),
    "dispatch": ("dispatcher", lambda arguments: ["dispatcher", *arguments]),
}
"""For each old name, the new one and a function from its arguments to the new command line."""


def by_new_name(arguments: list[str]) -> list[str]:
    """Return a command line with an old command name replaced, after a warning; others are returned unchanged."""
    if not arguments or arguments[0] not in RENAMED:
        return arguments
    old, *rest = arguments
    new, translate = RENAMED[old]
    warn_renamed(old, new)
    return translate(rest)


def warn_renamed(old: str, new: str) -> None:
    """Tell the user on stderr that a command has a new name."""
    click.echo(f"Warning: `limner {old}` is deprecated and will be removed; use `limner {new}`.", err=True)
