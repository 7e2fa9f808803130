"""A hundred descriptions in eight languages through each available backend: share of valid and of correct conditions.

    python -m bench.interpret [--quick] [--url http://localhost:11434/v1 --model NAME]

The descriptions and their expected conditions are in tests/data/descriptions.jsonl. Backends: rules always; SmolLM2 if
its package is installed (the extra `language`); a server if its URL is given.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from bench.common import conclude, plt, summary
from limner_shared.domain.cards import Catalogue, ModelCard
from limner_shared.domain.conditions import Conditions
from limner_shared.domain.jobs import JobRequest
from limner_shared.settings import Settings
from limner_shared.threads import Supervisor
from limner_worker.stages.interpretation.client import ChatClient
from limner_worker.stages.interpretation.interpreter import Interpreter, Request
from limner_worker.stages.interpretation.prompt_enricher import PromptEnricher

FILE = Path(__file__).parent.parent / "tests" / "data" / "descriptions.jsonl"
RESULTS = Path(__file__).parent / "results"
FIELDS = ("subject", "style", "n", "size", "negative", "seed")
SPELLED = {"🐱🍕": "cat face", "🚀": "rocket"}
BATCH = 8


def judge(row: dict[str, Any], found: Conditions) -> dict[str, bool]:
    """Return which of the expected conditions were found."""
    subject: str = SPELLED.get(row["text"]) or row["subject"]
    size = None if found.width is None else [found.width, found.height]
    return {
        "subject": subject.lower() in found.prompt.lower(),
        "style": found.style == row.get("style"),
        "n": found.n == row.get("n"),
        "size": size == row.get("size"),
        "negative": row.get("negative", "").lower() in found.negative_prompt.lower(),
        "seed": found.seed == row.get("seed"),
    }


def is_valid(card: ModelCard, request: Request, found: Conditions) -> bool:
    """Return whether the conditions match their schema, and the fitted request the model's limits."""
    try:
        fitted = card.fit(request.spec, Conditions.model_validate(found.model_dump()))
    except ValidationError:
        return False
    in_limits = 1 <= fitted.n <= card.max_images and len(fitted.prompt) <= card.max_prompt_chars
    return in_limits and (fitted.width, fitted.height) in card.sizes and fitted.style in card.styles


def measure(interpreter: Interpreter, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the shares of correct fields, and the seconds per description in batches of eight."""
    card = Catalogue.load([], "limner-flow").get(None)
    requests = [Request(card.resolve(JobRequest(description=row["text"])), card) for row in rows]
    found, seconds = [], []
    for start in range(0, len(rows), BATCH):
        started = time.perf_counter()
        some = interpreter(requests[start : start + BATCH])
        seconds.append((time.perf_counter() - started) / len(some))
        found += some
    valid = [is_valid(card, request, each.conditions) for request, each in zip(requests, found, strict=True)]
    right = [judge(row, each.conditions) for row, each in zip(rows, found, strict=True)]
    shares = {name: sum(one[name] for one in right) / len(right) for name in FIELDS}
    fallbacks = sum(each.fallback is not None for each in found)
    return shares | {"valid": sum(valid) / len(valid), "fallbacks": fallbacks, "seconds": summary(seconds)}


@click.command()
@click.option("--quick", is_flag=True, help="The first 24 descriptions only.")
@click.option("--url", help="Also measure this OpenAI-compatible server.")
@click.option("--model", default="", help="The server's model.")
def main(quick: bool, url: str | None, model: str) -> None:
    """Measure, and print the figures."""
    rows = [json.loads(line) for line in FILE.read_text("utf-8").splitlines()]
    backends = {"rules": Interpreter()}
    local = PromptEnricher(Settings().cache_dir, Supervisor())
    local.wait()
    if local.failure is None:
        backends["local"] = Interpreter(local=local)
    else:
        click.echo(local.failure)
    if url:
        backends["server"] = Interpreter(ChatClient(url, model, seconds=60))
    figures = {name: measure(interpreter, rows[:24] if quick else rows) for name, interpreter in backends.items()}
    for name, found in figures.items():
        click.echo(f"{name}: {found}")
    figure, axes = plt.subplots(figsize=(7, 3))
    for place, (name, found) in enumerate(figures.items()):
        axes.bar([k + 0.25 * place for k in range(len(FIELDS))], [found[f] for f in FIELDS], 0.22, label=name)
    axes.set_xticks(range(len(FIELDS)), FIELDS)
    axes.set_ylim(0, 1.05)
    axes.legend()
    figure.tight_layout()
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / "interpret.png", dpi=120)
    met = all(found["valid"] == 1 and found["subject"] == 1 for name, found in figures.items() if name != "server")
    conclude("interpret", figures, "rules and the small model: always valid, never without the subject", met=met)


if __name__ == "__main__":
    main()
