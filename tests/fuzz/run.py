"""Fuzzes a web process with one database after the other, in passes, until enough cases were sent."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from limner_client.local.embedded_valkey import free_port
from limner_shared.db.engine import Database
from limner_shared.settings import Settings
from tests.fuzz.databases import new_database
from tests.fuzz.doors.run import fuzz_doors
from tests.processes import Service

CONFIG = Path(__file__).with_name("schemathesis.toml")
ROOT = CONFIG.parents[2]
EXAMPLES = 50
"""Number of examples per operation in one pass."""


def one_pass(port: int, folder: Path, seed: int, examples: int) -> dict[str, Any]:
    """Run all phases of schemathesis once. Returns its report, with its console output as `output`."""
    report = folder / f"fuzz-{seed}.json"
    words = ["--config-file", str(CONFIG), "--no-color", "run", f"http://127.0.0.1:{port}/api/v1/openapi.json"]
    words += ["--exclude-path", "/api/v1/events"]  # a stream that never ends
    words += ["--max-examples", str(examples), "--seed", str(seed), "--continue-on-failure", "--warnings", "off"]
    words += ["--report", "json", "--report-json-path", str(report), "--request-timeout", "30"]
    ran = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "PYTHONWARNINGS": "ignore"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    output = ran.stdout + ran.stderr
    if not report.exists():
        raise click.ClickException(f"schemathesis did not run:\n{output}")
    return json.loads(report.read_text()) | {"output": output}


@contextmanager
def served(kind: str, folder: Path) -> Iterator[int]:
    """The port of a web process with an empty database of this kind and without Redis, which is optional."""
    with ExitStack() as stack:
        url = stack.enter_context(new_database(kind, folder))
        unreachable = f"redis://127.0.0.1:{free_port()}/0"
        settings = Settings(data_dir=folder, database_url=url, redis_url=unreachable, port=free_port(), web_workers=1)
        database = Database(url)
        stack.callback(database.dispose)
        service = Service(settings, database, folder)
        stack.callback(service.stop)
        service.start_web()
        yield settings.port


def fuzz(kind: str, cases: int, seed: int, together: int = 0) -> dict[str, Any]:
    """Send at least `cases` requests to a service with this kind of database; prints every failure."""
    figures: dict[str, Any] = {"seed": seed, "cases": 0, "failures": 0, "errors": 0}
    with tempfile.TemporaryDirectory(prefix="limner-fuzz-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user
        with served(kind, folder) as port:
            while figures["cases"] < cases:
                seeds = range(seed, seed + max(1, together))
                # Processes, because schemathesis with several threads of its own ends with errors of Python's parser.
                with ThreadPoolExecutor(len(seeds)) as pool:
                    passes = [pool.submit(one_pass, port, folder, each, EXAMPLES) for each in seeds]
                    reports = [each.result() for each in passes]
                seed = seeds.stop
                for report in reports:
                    _add(figures, report)
                click.echo(json.dumps({"database": kind} | figures))
    return figures


def _add(figures: dict[str, Any], report: dict[str, Any]) -> None:
    """Add a pass to the figures, and print what it found."""
    figures["cases"] += report["test_cases"]["generated"]
    figures["failures"] += sum(failure["count"] for failure in report["failures"])
    figures["errors"] += sum(error["count"] for error in report["errors"])
    if report["failures"] or report["errors"]:
        click.echo(report["output"])


@click.command()
@click.option("--cases", default=10_000, show_default=True, help="Minimum number of cases for each database and part.")
@click.option("--database", "kinds", multiple=True, type=click.Choice(["sqlite", "postgresql"]), help="Default: both.")
@click.option("--part", "parts", multiple=True, type=click.Choice(["native", "doors"]), help="Default: both.")
@click.option("--only", default="", help="Of the doors, only the operations whose name has this text.")
@click.option("--together", default=0, help="Send this many requests at once; of the native API, run as many passes.")
@click.option("--seed", type=int, help="Default: random; it is printed.")
def main(
    cases: int, kinds: tuple[str, ...], parts: tuple[str, ...], only: str, together: int, seed: int | None
) -> None:
    """Send random and hostile requests: to the native API, by its document, and to the doors of other clients, to
    agents' tools and to the pages' forms, by their clients' types.
    """
    seed = secrets.randbelow(2**31) if seed is None else seed
    figures: dict[str, Any] = {}
    for kind in kinds or ("sqlite", "postgresql"):
        if "native" in (parts or ("native",)):
            figures[kind] = fuzz(kind, cases, seed, together)
        if "doors" in (parts or ("doors",)):
            figures[f"{kind}, doors"] = fuzz_doors(kind, cases, seed, only, together)
    met = not any(one["failures"] or one["errors"] for one in figures.values())
    goal = f"{cases} cases per database and part: no 5xx, no undocumented response, no fault"
    click.echo(json.dumps({"name": "fuzz", "figures": figures, "goal": goal, "met": met}))
    raise SystemExit(0 if met else 1)


if __name__ == "__main__":
    main()
