"""What an API key may do and for how long: scopes and expiry."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from limner_shared.domain.durations import DAY_SECONDS, HOUR_SECONDS
from limner_shared.errors import (
    AdminScopeRequired,
    InvalidRequest,
    LimnerError,
    ReadScopeRequired,
    SubmitScopeRequired,
)

MAX_EXPIRY_DAYS: Final = 3_660
DEFAULT_OVERLAP_SECONDS: Final = DAY_SECONDS
MAX_OVERLAP_SECONDS: Final = 30 * DAY_SECONDS
MAX_LABEL_CHARS: Final = 100
MAX_KEYS: Final = 1_000
"""How many valid keys a tenant may have made by its keys."""
UNITS: Final = {"s": 1.0, "m": 60.0, "h": HOUR_SECONDS, "d": DAY_SECONDS}


class Scope(StrEnum):
    """A permission of an API key. `admin` includes the others."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"


DEFAULT_SCOPES: Final = frozenset({Scope.READ, Scope.SUBMIT})
REFUSALS: Final[dict[Scope, type[LimnerError]]] = {
    Scope.READ: ReadScopeRequired,
    Scope.SUBMIT: SubmitScopeRequired,
    Scope.ADMIN: AdminScopeRequired,
}


def require(granted: frozenset[Scope], needed: Scope) -> None:
    """Raise the error that names the needed scope unless it is granted."""
    if needed not in granted and Scope.ADMIN not in granted:
        raise REFUSALS[needed](scope=needed.value)


def store_scopes(scopes: Iterable[Scope]) -> str:
    """The stored form of scopes: their names, separated by spaces."""
    return " ".join(sorted(scopes))


def read_scopes(stored: str) -> frozenset[Scope]:
    """The scopes of a key. Names that only a later version knows grant nothing."""
    names = set(stored.split())
    return frozenset(scope for scope in Scope if scope in names)


def parse_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """The scopes that an operator names, or the default for none. Raises InvalidRequest for an unknown name."""
    given = list(names)
    unknown = [name for name in given if name not in list(Scope)]
    if unknown:
        raise InvalidRequest(f"There is no scope {unknown[0]!r}: use {', '.join(Scope)}.", field="scope")
    return frozenset(Scope(name) for name in given) or DEFAULT_SCOPES


@dataclass(frozen=True, slots=True)
class Expiry:
    """When a key expires: `seconds` from now, or at that time since 1970."""

    seconds: float
    is_relative: bool

    def at(self, now: float, *, field: str = "expires") -> float:
        """The time of expiry, `now` being the database's clock.

        Raises InvalidRequest, which names the `field`, if it is past or too far away.
        """
        moment = now + self.seconds if self.is_relative else self.seconds
        if not math.isfinite(moment) or not now < moment <= now + MAX_EXPIRY_DAYS * DAY_SECONDS:
            message = f"The expiry must be in the future, at most {MAX_EXPIRY_DAYS} days from now."
            raise InvalidRequest(message, field=field)
        return moment


def parse_expiry(text: str) -> Expiry:
    """Read a duration (`90d`, `12h`, `30m`, `45s`) or a date or time in ISO 8601, which is in UTC without an offset.

    Raises InvalidRequest for anything else.
    """
    duration = re.fullmatch(r"([0-9]{1,12})([smhd])", text.strip())
    if duration:
        return Expiry(int(duration[1]) * UNITS[duration[2]], is_relative=True)
    try:
        moment = datetime.fromisoformat(text.strip())
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return Expiry(aware.timestamp(), is_relative=False)
    except (ValueError, OverflowError) as error:
        message = f"{text!r} is no expiry: use a duration such as 90d or 12h, or a date such as 2027-01-31."
        raise InvalidRequest(message, field="expires") from error
