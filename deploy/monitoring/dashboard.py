"""Builds the Grafana dashboard from `panels.toml`: `python deploy/monitoring/dashboard.py` writes `dashboard.json`.

It needs grafana-foundation-sdk (1769699379!11.6.0: other versions write other defaults), which nothing else does:
install it in an environment of its own. `make lint` runs without it, so the type checker does not look for it.
"""
# ruff: noqa: INP001
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

HERE: Final = Path(__file__).parent
SOURCE: Final = "${source}"
INSTALLATIONS: Final = {"namespace": "Namespace", "cell": "Cell"}
"""The labels by which installations differ, as in rules.yml, and what their choices are called."""
CHOSEN: Final = ",".join(f'{name}=~"${name}"' for name in INSTALLATIONS)
METRIC: Final = re.compile(r"\b(limner[_:][a-z0-9_:]+)(\{)?")
HEIGHT: Final = 8
WIDTH: Final = 8


def panels() -> dict[str, list[dict[str, Any]]]:
    """The graphs of `panels.toml`, by their rows."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for shown in tomllib.loads((HERE / "panels.toml").read_text("utf-8"))["panel"]:
        rows.setdefault(shown["row"], []).append(shown)
    return rows


def chosen(query: str) -> str:
    """The query, of the chosen installations only."""
    return METRIC.sub(lambda found: f"{found[1]}{{{CHOSEN}{',' if found[2] else '}'}", query)


def choice(name: str, label: str) -> Any:
    """The choice of an installation by one label; `All` includes series that do not have it."""
    built = build.QueryVariable(name).label(label).query(f"label_values(limner_build_info, {name})")
    built = built.datasource(model.DataSourceRef(type_val="prometheus", uid=SOURCE))
    built = built.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).multi(True).include_all(True).all_value(".*")
    return built.current(model.VariableOption(text="All", value="$__all"))


def panel(shown: dict[str, Any]) -> Any:
    """The builder of one graph."""
    built = timeseries.Panel().title(shown["title"]).unit(shown["unit"]).height(HEIGHT).span(WIDTH).min(0)
    built = built.datasource(model.DataSourceRef(type_val="prometheus", uid=SOURCE))
    for number, (legend, query) in enumerate(shown["queries"].items()):
        target = prometheus.Dataquery().expr(chosen(query)).legend_format(legend).ref_id(chr(ord("A") + number))
        built = built.with_target(target)
    return built


def main() -> None:
    """Write the dashboard."""
    source = build.DatasourceVariable("source").label("Prometheus").type("prometheus")
    board = build.Dashboard("Limner").uid("limner").tags(["limner"]).refresh("30s").time("now-3h", "now")
    board = board.with_variable(source)
    for name, label in INSTALLATIONS.items():
        board = board.with_variable(choice(name, label))
    for title, some in panels().items():
        board = board.with_row(build.Row(title))
        for shown in some:
            board = board.with_panel(panel(shown))
    text = JSONEncoder(sort_keys=True, indent=2).encode(board.build())
    (HERE / "dashboard.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
