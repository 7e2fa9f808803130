"""Results of trials of schedulers, kept for the life of the process: most of the time to load a small model again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any, Concatenate, ParamSpec, TypeVar

_Answer = TypeVar("_Answer")
_More = ParamSpec("_More")


def tried_once(
    trial: Callable[Concatenate[Any, _More], _Answer],
) -> Callable[Concatenate[Any, _More], _Answer]:
    """Call `trial(scheduler, *more)` once for each class and configuration of a scheduler, and each `more`, which must
    be hashable. The result must depend on nothing else. A scheduler whose configuration cannot be written as JSON is
    tried each time.
    """
    found: dict[Hashable, _Answer] = {}

    @functools.wraps(trial)
    def known(scheduler: Any, *more: _More.args, **named: _More.kwargs) -> _Answer:
        try:
            key = (scheduler.__class__, scheduler.to_json_string(), more, tuple(named.items()))
        except (AttributeError, TypeError, ValueError):
            return trial(scheduler, *more, **named)
        if key not in found:
            found[key] = trial(scheduler, *more, **named)
        return found[key]

    return known
