"""The results of the suite as one JSON file, a Markdown table and a plot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

BARS: Final = ("pipe, 1 at a time", "pipe, batches of 8", "engine, 8 concurrent", "engine, 8 concurrent, mixed steps")
COLOURS: Final = ("#d7dbdf", "#b8bfc6", "#c8553d", "#e59a86")
CHECKS: Final = ("checks", "compiling")
RATES: Final = (
    "pipe, 1 at a time", "pipe, batches of 8", "engine, 1 concurrent", "engine, 8 concurrent",
    "engine, 8 concurrent, mixed steps", "engine, 32 concurrent",
)  # fmt: skip
STEP_COLUMNS: Final = ("model", "size", "batch", "step, ms", "denoiser, ms", "rest per row, ms", "start, ms")
RATE_COLUMNS: Final = (
    "model", "size", "pipe 1", "pipe 8", "engine 1", "engine 8", "mixed", "engine 32", "engine 8 / pipe 8",
    "p95 of 8, s", "busy, %", "W",
)  # fmt: skip
GOAL: Final = "every check passes; the engine at 8 concurrent at least 0.95 of static batches of 8"
LEAST: Final = 0.95


def write(folder: Path) -> dict[str, Any]:
    """Write `gpu.json`, `gpu.md` and `gpu.png` from the parts' files; return the result in short."""
    parts = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json")) if file.name != "gpu.json"]
    checks = [each for part in parts if part["part"] in CHECKS for each in part["results"]]
    rates = {
        f"{part['part']} {each['name'].removeprefix('rates ')}": each["figures"]
        for part in parts for each in part["results"] if each["name"].startswith("rates ") and each["ok"]
    }  # fmt: skip
    failed = [f"{part['part']}: {each['name']}" for part in parts for each in part["results"] if each["ok"] is False]
    failed += [f"{part['part']}: {part['error']}" for part in parts if part.get("error")]
    figures = {
        "checks_passed": sum(each["ok"] is True for each in checks),
        "checks_skipped": sum(each["ok"] is None for each in checks),
        "failed": failed,
        "engine_over_static": {name: each["engine_over_static"] for name, each in rates.items()},
    }
    met = not failed and all(each["engine_over_static"] >= LEAST for each in rates.values())
    result = {"name": "gpu", "figures": figures, "goal": GOAL, "met": met}
    (folder / "gpu.json").write_text(json.dumps(result | {"parts": parts}, indent=2) + "\n")
    (folder / "gpu.md").write_text(_tables(parts) + "\n")
    if rates:
        _plot(rates, folder / "gpu.png")
    return result


def _tables(parts: list[dict[str, Any]]) -> str:
    checks, steps, rates = (_head(names) for names in (("check", "result", "figures"), STEP_COLUMNS, RATE_COLUMNS))
    for part in parts:
        for each in part["results"]:
            if part["part"] in CHECKS:
                word = {True: "passed", False: "failed", None: "skipped"}[each["ok"]]
                about = each.get("figures") or each.get("skipped") or each.get("error")
                checks.append(f"| {each['name'].replace('_', ' ')} | {word} | {_words(about)} |")
            elif each["ok"] and each["name"].startswith("steps "):
                size = each["name"].removeprefix("steps ")
                steps += [
                    f"| {part['part']} | {size} | {one['batch']} | {one['step_ms']} | {one['denoiser_ms']} "
                    f"| {one['rest_ms_per_row']} | {each['figures']['start_ms']} |"
                    for one in each["figures"]["batches"]
                ]
            elif each["ok"] and each["name"].startswith("rates "):
                rates.append(_rate_row(part["part"], each["name"].removeprefix("rates "), each["figures"]))
    return "\n\n".join("\n".join(lines) for lines in (checks, steps, rates) if len(lines) > 2)


def _head(columns: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def _rate_row(model: str, size: str, figures: dict[str, Any]) -> str:
    rate = figures["pictures_per_s"]
    cells = [f"{rate[name]:.2f}" if name in rate else "" for name in RATES]
    busy, watts = figures["utilisation_percent"], figures["watts"]
    more = [figures["engine_over_static"], figures["p95_s"]["engine, 8 concurrent"], busy or "", watts or ""]
    return "| " + " | ".join(map(str, (model, size, *cells, *more))) + " |"


def _words(figures: object) -> str:
    if not isinstance(figures, dict):
        return str(figures)
    named = cast("dict[str, object]", figures)
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in named.items()
    )


def _plot(rates: dict[str, dict[str, Any]], file: Path) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    figure: Any = Figure(figsize=(8, 0.9 + 0.75 * len(rates)))
    axes = figure.add_subplot()
    height = 0.8 / len(BARS)
    for number, (bar, colour) in enumerate(zip(BARS, COLOURS, strict=True)):
        places = [place + number * height for place in range(len(rates))]
        values = [each["pictures_per_s"][bar] / each["pictures_per_s"]["pipe, 1 at a time"] for each in rates.values()]
        axes.barh(places, values, height, color=colour, label=bar)
    axes.set_yticks([place + 1.5 * height for place in range(len(rates))], list(rates))
    axes.invert_yaxis()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("pictures a second, relative to one pipe() call after the other")
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    figure.tight_layout()
    figure.savefig(file, dpi=120)
