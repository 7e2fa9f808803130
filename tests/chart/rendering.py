"""The chart's objects, rendered by Helm's own SDK. Without it the tests that import this module are skipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

helm = pytest.importorskip("helm_python", reason="the group `chart` is not installed: make chart")

CHART: Final = Path(__file__).parents[2] / "deploy" / "chart"

Object = dict[str, Any]


def values_of(name: str) -> Object:
    return yaml.safe_load((CHART / "ci" / f"{name}.yaml").read_text("utf-8"))


def render(values: Object, **options: Any) -> list[Object]:
    """The objects that the chart makes of these values, in order."""
    with helm.Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        files: dict[str, str] = chart.render(values, name="pictures", namespace="prod", **options)
    texts = [text for name, text in sorted(files.items()) if name.endswith(".yaml")]
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def of_kind(objects: list[Object], kind: str, name: str = "") -> list[Object]:
    return [each for each in objects if each["kind"] == kind and name in each["metadata"]["name"]]


def pod_of(one: Object) -> Object:
    return one["spec"]["template"]["spec"]


def variables(one: Object) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in pod_of(one)["containers"][0]["env"]}


def workloads(objects: list[Object]) -> list[Object]:
    """The objects with our own pods."""
    return [each for each in objects if each["kind"] in ("Deployment", "Job")]
