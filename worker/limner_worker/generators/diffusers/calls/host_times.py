"""Times of a schedule on the host, so that a scheduler's step does not wait for the device.

A pipeline passes each time as a number on the device. Schedulers that look it up in tables on the host, such as DDIM,
then wait four times in each step of each image until the device has done all its work.
"""

from __future__ import annotations

from typing import Any, Final

from torch import Tensor

TABLE: Final = "alphas_cumprod"
"""The table of the schedulers that look up times."""


class HostTimes:
    """The times of one image's scheduler, on the device and on the host."""

    def __init__(self, times: Tensor, on_host: Tensor) -> None:
        """`times` is [steps], on the device; `on_host` is its copy."""
        self._times = times
        self._on_host = on_host

    @classmethod
    def of(cls, scheduler: Any) -> HostTimes | None:
        """Return the times of a scheduler that has just set them; None where a look at one does not wait."""
        times, table = getattr(scheduler, "timesteps", None), getattr(scheduler, TABLE, None)
        if not isinstance(times, Tensor) or times.ndim != 1 or times.device.type == "cpu":
            return None
        return cls(times, times.cpu()) if isinstance(table, Tensor) and table.device.type == "cpu" else None

    def given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of a step with its time on the host, if it is one of the schedule."""
        if "timestep" in kwargs:
            return args, {**kwargs, "timestep": self._host(kwargs["timestep"])}
        return (args[0], self._host(args[1]), *args[2:]), kwargs

    def _host(self, time: Any) -> Any:
        if not isinstance(time, Tensor) or time.ndim:
            return time
        place = (time.data_ptr() - self._times.data_ptr()) // self._times.element_size()
        return self._on_host[place] if 0 <= place < len(self._on_host) else time
