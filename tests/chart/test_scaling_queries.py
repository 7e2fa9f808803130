"""KEDA's queries: what they count as work, by promtool and in a real PostgreSQL."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import text, update

from limner_shared.db import ledger
from limner_shared.db.accounts import audit, pauses
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, Priority
from limner_shared.domain.pauses import PauseKind
from tests.chart.rendering import of_kind, render, values_of


def test_prometheus_understands_the_query(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    [trigger, _] = of_kind(render(values_of("autoscaled")), "ScaledObject")[0]["spec"]["triggers"]
    rule = {"record": "work_seconds", "expr": trigger["metadata"]["query"]}
    rules = {"groups": [{"name": "chart", "rules": [rule]}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    ours = 'model="limner-flow",namespace="prod"'
    queue = f'limner_queue_jobs{{{ours},lane="low",place="%s"}}'
    ended = f'limner_jobs_ended_total{{{ours},state="succeeded",code=""}}'
    queues = [
        {"series": queue % "backlog", "values": "100x20"},
        {"series": queue % "released", "values": "20x20"},
    ]
    # Two devices are busy for 30 s of each minute together, most of it in steps.
    busy = [
        {"series": f'limner_{part}_seconds_sum{{{ours},instance="{worker}"}}', "values": f"0+{each}x20"}
        for part, each in (("encode", 1), ("step", 12), ("decode", 2))
        for worker in "ab"
    ]
    cases = [
        # 120 jobs of half a second of a device: 60 s of work for one worker, however idle the workers were.
        ([*queues, *busy, {"series": ended, "values": "0+60x20"}], 60),
        ([*queues, *busy, {"series": ended, "values": "0+6x20"}], 600),
        # None has ended yet: 2 s a job, as the values say.
        (queues, 240),
        ([*queues, *busy], 240),
        ([*queues, *busy, {"series": ended, "values": "0x20"}], 240),
        ([{"series": queue % "backlog", "values": "7x20"}], 14),
        # Another release's jobs are no work of this one.
        ([*queues, {"series": queue.replace("prod", "staging") % "backlog", "values": "5000x20"}], 240),
        # What a pause holds is no work.
        ([{"series": queue % "backlog", "values": "7x20"}, {"series": queue % "paused", "values": "900x20"}], 14),
    ]
    asked = {"expr": "work_seconds", "eval_time": "15m"}
    tests = [
        {
            "interval": "1m",
            "input_series": inputs,
            "promql_expr_test": [asked | {"exp_samples": [{"labels": "work_seconds", "value": value}]}],
        }
        for inputs, value in cases
    ]
    (tmp_path / "tests.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": tests}))
    checked = subprocess.run(
        [promtool, "test", "rules", "tests.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_query_for_postgresql_counts_the_jobs_that_no_pause_holds_back(database: Database) -> None:
    [trigger, running] = of_kind(render(values_of("strict")), "ScaledObject")[0]["spec"]["triggers"]

    def asked(trigger: dict[str, Any]) -> int:
        with database.read() as session:
            return session.execute(text(trigger["metadata"]["query"])).scalar_one()

    seconds = partial(asked, trigger)

    card, spec = Catalogue.load((), "limner-flow").resolve(JobRequest.model_validate({"prompt": "an apple"}))
    with database.write() as session:
        ledger.ensure_tenant(session, ledger.LOCAL_TENANT, ledger.LOCAL_NAME)
        ledger.submit(session, ledger.LOCAL_TENANT, [ledger.NewJob(spec, card.cost(spec), Priority.NORMAL)])
    of_tenant = [(kind, ledger.LOCAL_TENANT) for kind in (PauseKind.TENANT, PauseKind.OWN)]
    for kind, subject in ((PauseKind.MODEL, "limner-flow"), *of_tenant):
        with database.write() as session:
            assert seconds() == 10
            row = pauses.pause(session, kind, subject, None, None, actor=audit.OPERATOR)
        assert seconds() == 0
        with database.write() as session:
            pauses.resume(session, row.id, actor=audit.OPERATOR)
    with database.write() as session:
        bulk = ledger.open_bulk(session, ledger.LOCAL_TENANT)
        session.execute(update(Job).values(bulk_id=bulk, queue_key=bulk))
        ledger.seal_bulk(session, bulk, 1)
    assert seconds() == 10
    with database.write() as session:
        ledger.pause_bulk(session, bulk, paused=True)
    assert (seconds(), asked(running)) == (0, 0)
    with database.write() as session:
        session.execute(update(Job).values(state="running", lease_until=0))
    assert (seconds(), asked(running)) == (0, 1)
