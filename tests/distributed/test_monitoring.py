"""Rules and dashboard: checked and unit-tested by promtool, and every query evaluated by a real Prometheus that scrapes
a real service.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from click.testing import CliRunner

from limner_client.cli.main import cli
from limner_client.client import Client
from limner_client.local.embedded_valkey import free_port
from limner_shared import errors
from limner_shared.errors import LimnerError
from limner_shared.metrics.exposition import installed_version
from limner_shared.metrics.instruments import ALL
from tests.processes import Service, eventually

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
RULES = yaml.safe_load((MONITORING / "rules.yml").read_text())
PANELS = tomllib.loads((MONITORING / "panels.toml").read_text())["panel"]
JOBS = 8
PROCESSES = "limner-web|limner-dispatcher|limner-worker"
NAME = re.compile(r"\blimner_[a-z_]+")

COUNTED = {
    errors.ClassifierUnavailable,
    errors.DamagedInput,
    errors.DatabaseFull,
    errors.GenerationFailed,
    errors.LeaseLost,
    errors.ObjectLost,
    errors.ObjectUnreadable,
    errors.ResourceUnreadable,
    errors.SafetyUnavailable,
    errors.SigningFailed,
    errors.SigningUnavailable,
    errors.StorageFailed,
    errors.StorageFull,
    errors.UnreadableJob,
    errors.WorkerLost,
}
"""The errors of jobs that are the service's fault."""

needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("prometheus") is None,
    reason="Prometheus is not installed: apt-get install prometheus",
)


def recorded() -> dict[str, str]:
    return {rule["record"]: rule["expr"] for group in RULES["groups"] for rule in group["rules"] if "record" in rule}


def alerts() -> dict[str, str]:
    return {rule["alert"]: rule["expr"] for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}


def shown() -> dict[str, str]:
    return {f"{each['title']}: {legend}": query for each in PANELS for legend, query in each["queries"].items()}


def test_every_query_names_only_metrics_and_rules_that_exist():
    series = {
        name
        for metric in ALL.values()
        for name in (metric.name, *(f"{metric.name}_{x}" for x in ("bucket", "sum", "count")))
    }
    for title, query in {**recorded(), **alerts(), **shown()}.items():
        assert set(NAME.findall(query)) <= series, title
        assert set(re.findall(r"\blimner:[a-z0-9_:]+", query)) <= recorded().keys(), title


def test_each_error_of_a_job_is_excused_or_counts_against_the_objective_and_the_rules_know_which():
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LimnerError)}
    excused = {kind for kind in kinds if kind.excused}
    of_jobs = {kind for kind in kinds if kind.__module__.rpartition(".")[2] in ("jobs", "stores")}
    assert COUNTED | excused >= of_jobs, "is this the service's fault? List it above, or let it be excused"
    assert not COUNTED & excused
    codes = "|".join(sorted(kind.code for kind in excused))
    for window in ("5m", "1h", "6h"):
        assert f'code!~"{codes}"}}[{window}]' in recorded()[f"limner:failures:ratio{window}"]


def test_the_committed_dashboard_shows_exactly_the_panels():
    board = json.loads((MONITORING / "dashboard.json").read_text())
    chosen = 'namespace=~"$namespace",cell=~"$cell"'
    targets = [(panel["title"], target) for panel in board["panels"] for target in panel.get("targets", [])]
    built = {
        (title, target["legendFormat"], target["expr"].replace(f"{{{chosen}}}", "").replace(f"{chosen},", ""))
        for title, target in targets
    }
    assert built == {(each["title"], *query) for each in PANELS for query in each["queries"].items()}
    for title, target in targets:
        names = re.findall(r"\blimner[_:]", target["expr"])
        assert len(names) == target["expr"].count(chosen), title
    assert [each["name"] for each in board["templating"]["list"]] == ["source", "namespace", "cell"]


def test_every_alert_says_what_happened_and_what_to_do():
    for group in RULES["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                assert rule["labels"]["severity"] in ("page", "ticket")
                assert rule["annotations"].keys() == {"summary", "action"}


def test_a_unit_test_lets_each_alert_fire():
    tests = yaml.safe_load((MONITORING / "rules_test.yml").read_text())["tests"]
    fired = {each["alertname"] for test in tests for each in test["alert_rule_test"] if each.get("exp_alerts")}
    assert fired == alerts().keys()


def test_several_installations_in_one_prometheus_are_told_apart():
    """Each aggregation of the rules keeps the labels by which installations differ."""
    for title, query in (recorded() | alerts()).items():
        aggregations = re.findall(r"\b(?:sum|min|max|count)\b", query)
        assert len(aggregations) == query.count(" by (namespace, cell"), title
        assert "on (" not in query, title


@needs_prometheus
@pytest.mark.parametrize("command", [("check", "config", "prometheus.yml"), ("test", "rules", "rules_test.yml")])
def test_promtool_accepts(command: tuple[str, ...]):
    run = subprocess.run(["promtool", *command], cwd=MONITORING, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", trust_env=False)

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, **parameters: str) -> Any:
        try:
            answer = self._client.get(path, params=parameters)
        except httpx.TransportError:
            return None
        assert answer.status_code in (200, 503), answer.text
        return answer.json()["data"] if answer.is_success else None

    def values(self, query: str) -> list[float]:
        found = self.get("/query", query=query)
        return [] if found is None else [float(each["value"][1]) for each in found["result"]]


@pytest.fixture
def prometheus(service: Service, tmp_path: Path) -> Iterator[Prometheus]:
    """The service with the model `null`, whose pictures are judged, and a Prometheus with our configuration that
    scrapes it every second.
    """
    cards = {"models": (ROOT / "tests" / "models",), "default_model": "null", "safety": "label"}
    ports = {"port": free_port(), "metrics_port": free_port(), "web_workers": 2}
    service.settings = service.settings.model_copy(update=cards | ports)
    service.start_web()
    service.settings = service.settings.model_copy(update={"metrics_port": 0})
    service.start("dispatcher")
    service.start_workers()
    config = (MONITORING / "prometheus.yml").read_text().replace("9100", str(ports["metrics_port"]))
    config = config.replace("15s", "1s").replace("rules.yml", str(MONITORING / "rules.yml"))
    (tmp_path / "prometheus.yml").write_text(config)
    port = free_port()
    command = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb"]
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    running = Prometheus(port)
    try:
        yield running
    finally:
        running.close()
        process.terminate()
        process.wait(20)


@pytest.mark.long
@needs_prometheus
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_query_of_rules_and_dashboard_gives_a_number_and_no_alert_fires(service: Service, prometheus: Prometheus):
    def ended() -> list[float]:
        return prometheus.values('sum(limner_jobs_ended_total{state="succeeded"})')

    eventually(lambda: prometheus.values(f'count(up{{job=~"{PROCESSES}"}} == 1)') == [3], 60)
    lines = "".join(json.dumps({"prompt": f"cat {n}"}) + "\n" for n in range(JOBS)).encode()
    with Client(f"http://127.0.0.1:{service.settings.port}") as client:
        for count in (JOBS + 2, 2 * (JOBS + 2)):  # the second round increases what the first one made
            client.submit({"prompt": "a red apple"})
            client.submit({"description": "a blue cat, please"})
            client.submit_bulk(BytesIO(lines))
            eventually(lambda expected=count: ended() == [expected], 60)
    for name in ("limner_jobs_submitted_total", "limner_attempts_total", "limner_jobs_released_total"):
        eventually(lambda query=f"sum({name})": prometheus.values(query) == [count])
    queries = recorded() | {name: name for name in recorded()} | shown()

    def without_a_number() -> list[str]:
        return [
            title
            for title, query in queries.items()
            if not (found := prometheus.values(query)) or all(math.isnan(each) for each in found)
        ]

    eventually(lambda: without_a_number() == [], 60, every=1)
    built = f'limner_build_info{{version="{installed_version()}"}}'
    assert prometheus.values(f"count by (process) ({built})") == [1, 1, 1]
    for name, query in alerts().items():
        assert prometheus.get("/query", query=query) is not None, name
    groups = prometheus.get("/rules")["groups"]
    broken = {rule["name"]: rule["lastError"] for group in groups for rule in group["rules"] if rule["health"] == "err"}
    assert not broken
    assert [each["labels"]["alertname"] for each in prometheus.get("/alerts")["alerts"]] == []
    seen = CliRunner().invoke(
        cli, ["top", "--once", "--interval", "0.2", "--server", f"127.0.0.1:{service.settings.port}"]
    )
    assert seen.exit_code == 0, seen.output
    assert "null" in seen.output
    assert "dispatch 1" in seen.output
    assert "not reachable" not in seen.output
