"""Several releases in one Prometheus: each one's rules see its own metrics. And the dashboard in a ConfigMap."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.rendering import CHART, Object, of_kind, render, values_of

MONITORED: Object = values_of("minimal") | {"monitoring": {"enabled": True}}


def rules_of(objects: list[Object]) -> Object:
    [found] = of_kind(objects, "PrometheusRule")
    return found["spec"]


def expressions(rules: Object) -> list[str]:
    return [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("cell", ["", "a"])
def test_every_query_selects_the_releases_own_series_and_differs_in_nothing_else(cell: str) -> None:
    ours = 'namespace="prod"' + (',cell="a"' if cell else "")
    objects = render(MONITORED | {"settings": {"cell": cell} if cell else {}})
    written = expressions(yaml.safe_load((CHART / "rules.yml").read_text("utf-8")))
    for found, original in zip(expressions(rules_of(objects)), written, strict=True):
        assert len(re.findall(r"\blimner[_:]|\bup\{", found)) == found.count(ours), found
        assert found.replace(f"{{{ours}}}", "").replace(f"{ours},", "") == original
    for kind, field in (("ServiceMonitor", "endpoints"), ("PodMonitor", "podMetricsEndpoints")):
        [monitor] = of_kind(objects, kind)
        [endpoint] = monitor["spec"][field]
        assert endpoint.get("relabelings") == ([{"targetLabel": "cell", "replacement": "a"}] if cell else None)


def test_another_release_hides_no_fault_of_this_one_and_reports_none_of_its_own(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    rules = rules_of(render(MONITORED))
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        rule.pop("annotations", None)  # which promtool would compare
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    staging = {
        'limner_build_info{process="web",namespace="staging"}': "1x20",
        'limner_dispatcher_leads{duty="dispatch",namespace="staging"}': "0x20",
    }
    prod = {
        'limner_build_info{process="web",namespace="prod"}': "1x20",
        'limner_dispatcher_leads{duty="dispatch",namespace="prod"}': "1x20",
    }

    def case(series: dict[str, str], **fired: bool) -> Object:
        inputs = [{"series": name, "values": values} for name, values in series.items()]
        asked: list[Any] = [
            {"eval_time": "15m", "alertname": name}
            | ({"exp_alerts": [{"exp_labels": {"severity": "page", "namespace": "prod"}}]} if fires else {})
            for name, fires in fired.items()
        ]
        return {"interval": "1m", "input_series": inputs, "alert_rule_test": asked}

    cases = [
        case(staging, LimnerNoWeb=True),
        case(staging | prod, LimnerNoWeb=False, LimnerNoLeader=False),
    ]
    (tmp_path / "tests.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": cases}))
    checked = subprocess.run(
        [promtool, "test", "rules", "tests.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_grafana_finds_the_dashboard_of_the_repository() -> None:
    [config] = of_kind(render(MONITORED), "ConfigMap", "-dashboard")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    [(name, text)] = config["data"].items()
    assert name.endswith(".json")
    assert json.loads(text) == json.loads((CHART / "dashboard.json").read_text("utf-8"))
    pytest.importorskip("kubernetes_validate").validate(config, "1.37", strict=True)
    without = MONITORED | {"monitoring": {"enabled": True, "dashboard": False}}
    assert not of_kind(render(without), "ConfigMap")
