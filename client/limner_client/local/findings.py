"""The findings of `limner doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its result, what was found, and advice if it is not `ok`."""

    name: str
    state: State
    found: str
    advice: str = ""
