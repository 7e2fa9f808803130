"""The options that the commands of all keys and those of one's own share."""

from __future__ import annotations

from typing import Final

import click

from limner_shared.domain.access import DEFAULT_OVERLAP_SECONDS, MAX_OVERLAP_SECONDS, Scope

SCOPES: Final = click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    help="What the key may do; may be repeated. By default read and submit. admin includes both.",
)
OVERLAP: Final = click.option(
    "--overlap-seconds",
    type=click.IntRange(0, MAX_OVERLAP_SECONDS),
    default=DEFAULT_OVERLAP_SECONDS,
    show_default=True,
    help="How long the old key remains valid; 0 ends it at once.",
)
