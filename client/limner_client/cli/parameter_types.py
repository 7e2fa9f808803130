"""Types of command line options that several commands share."""

from __future__ import annotations

from typing import Any

import click

from limner_shared.domain.access import Expiry, parse_expiry
from limner_shared.errors import InvalidRequest


class ExpiryType(click.ParamType[Expiry]):
    """A duration or a date."""

    name = "duration|date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Expiry:
        """Read the value; an invalid one is a usage error."""
        try:
            return parse_expiry(str(value))
        except InvalidRequest as error:
            self.fail(error.message, param, ctx)
