"""The parts of the suite, as a child process runs them: each writes its results after every figure."""

from __future__ import annotations

import inspect
import json
import logging
import platform
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast

import diffusers
import structlog
import torch
import torch._dynamo
import transformers

from bench.gpu import checks, flow, measure, models
from bench.gpu.setting import Setting, Skipped
from limner_worker.generators import device_faults
from limner_worker.generators.device import EACH_SHAPE
from limner_worker.generators.registry import pick_device

MEMORY_PICTURES: Final = {True: 16, False: 500}
"""The number of pictures over which memory must not grow, by `toy`."""
CHECKS: Final = {"checks": checks.CHECKS, "compiling": checks.COMPILING_CHECKS}
LONGEST_MEASUREMENT: Final = 25.0
"""Seconds that must be left for another measurement."""


class Part:
    """The results of one part, and the file that holds them."""

    def __init__(self, name: str, device: str, folder: Path) -> None:
        self._file = folder / f"{name}.json"
        self._found: dict[str, Any] = {"part": name, "machine": machine(device), "results": [], "ended": False}

    def add(self, name: str, work: Callable[[], dict[str, Any]]) -> None:
        """Do the work, and store its figures, or why there are none."""
        started = time.perf_counter()
        try:
            result: dict[str, Any] = {"ok": True, "figures": work()}
        except Skipped as reason:
            result = {"ok": None, "skipped": str(reason)}
        except Exception as error:
            if device_faults.is_device_broken(error):
                self._store(name, {"ok": False, "error": repr(error)[:500]}, started)
                raise
            lines = traceback.format_exc().strip().splitlines()
            result = {"ok": False, "error": repr(error)[:500], "at": lines[-12:]}
        self._store(name, result, started)

    def end(self) -> None:
        """Mark the part as complete."""
        self._found["ended"] = True
        self._write()

    def _store(self, name: str, result: dict[str, Any], started: float) -> None:
        result = {"name": name, **result, "seconds": round(time.perf_counter() - started, 2)}
        self._found["results"].append(result)
        print(self._found["part"], json.dumps(result)[:1500], flush=True)
        self._write()

    def _write(self) -> None:
        self._file.write_text(json.dumps(self._found, indent=2))


def machine(device: str) -> dict[str, Any]:
    """Return what determines the figures."""
    cuda = device.startswith("cuda")
    properties = cast("Any", torch.cuda).get_device_properties(device) if cuda else None
    return {
        "device": torch.cuda.get_device_name(device) if cuda else device,
        "memory_gb": round(properties.total_memory / 1e9, 1) if properties else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
    }


def run(parts: Sequence[str], device: str, folder: Path, *, toy: bool, seconds: float, sizes: int = 2) -> None:
    """Run the parts one after the other until the time is up."""
    deadline = time.monotonic() + seconds
    device = pick_device(device)
    _prepare(device)

    def is_time_left() -> bool:
        return time.monotonic() + (0 if toy else LONGEST_MEASUREMENT) < deadline

    for name in parts:
        part = Part(name, device, folder)
        if not is_time_left():
            part.add(name, partial(_skip, "no time was left"))
        elif name in CHECKS:
            _check(part, name, device, toy=toy)
        elif name == "flow":
            part.add("flow", lambda: flow.measure(device, toy=toy))
        else:
            _measure(part, name, device, is_time_left, toy=toy, sizes=sizes)
        part.end()
        device_faults.release_cached_memory()


def _check(part: Part, name: str, device: str, *, toy: bool) -> None:
    with TemporaryDirectory(prefix="limner-gpu-") as folder:
        setting = Setting(device, Path(folder), toy=toy, pictures=MEMORY_PICTURES[toy])
        for check in CHECKS[name]:
            part.add(check.__name__, partial(check, setting))


def _prepare(device: str) -> None:
    """Keep the libraries quiet, and let an older torch compile as many shapes."""
    if device == "cpu":
        torch.set_num_threads(1)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    transformers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.set_verbosity_error()
    if "recompile_limit" not in inspect.signature(cast("Any", torch).compile).parameters:
        torch._dynamo.config.recompile_limit = EACH_SHAPE.pop("recompile_limit")  # noqa: SLF001 - torch has no public name for it


def _skip(reason: str) -> dict[str, Any]:
    raise Skipped(reason)


def _measure(part: Part, name: str, device: str, is_time_left: Callable[[], bool], *, toy: bool, sizes: int) -> None:
    loaded: list[Any] = []

    def load() -> dict[str, Any]:
        loaded.append(models.load(name, device, toy=toy))
        return {
            "parameters": sum(p.numel() for p in _denoiser(loaded[0]).parameters()),
            "weights_gb": loaded[0].nbytes / 1e9,
        }

    part.add("load", load)
    if not loaded:
        return
    generator = loaded[0]
    for size in generator.card.sizes[:sizes]:
        if not is_time_left():
            part.add(f"{size[0]}x{size[1]}", partial(_skip, "no time was left"))
            continue
        suffix = f"{size[0]}x{size[1]}"
        part.add(f"steps {suffix}", partial(_step_figures, generator, size))
        part.add(f"rates {suffix}", partial(measure.rates, generator, size, is_time_left))
    if device.startswith("cuda"):
        part.add("memory", lambda: {"peak_gb": round(torch.cuda.max_memory_reserved() / 1e9, 2)})
        torch.cuda.reset_peak_memory_stats()


def _step_figures(generator: Any, size: tuple[int, int]) -> dict[str, Any]:
    batches = [measure.step_times(generator, size, batch) for batch in (1, measure.BATCH)]
    with measure.plain_torch():
        plain = measure.step_times(generator, size, measure.BATCH)
    return {"batches": batches, "not_deterministic": plain, "start_ms": measure.start_ms(generator, size)}


def _denoiser(generator: Any) -> Any:
    return getattr(generator.pipeline, "transformer", None) or generator.pipeline.unet
