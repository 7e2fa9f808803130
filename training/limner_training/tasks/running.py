"""Runs the tasks for a built-in model, from its weights and the true drawings to the printed table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from limner_training.evaluation import DEFAULT_SAMPLER, Sampler
from limner_training.tasks import scoring
from limner_training.tasks.drawing import Artist
from limner_training.tasks.judging import Ranker, TaskJudge
from limner_training.tasks.selection import true_sources
from limner_training.tasks.sheet import save_sheet
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.networks.image_tower import ImageTower
from limner_worker.networks.weights import load_module

PICTURES: Final = 512
QUICK: Final = 6
"""Pictures of each task, in English only: too few for conclusions."""
LEAST_FOR_LANGUAGES: Final = 10


def ranker(weights: Path) -> Ranker:
    """Load the evaluator from the folder of all built-in models. Raises WeightsError."""
    names = KnownNames(weights / "limner-text")
    return Ranker(load_module(ImageTower, weights / "limner-text" / "tower.safetensors"), names.names, names.embeddings)


def score_tasks(
    model: str,
    weights: Path,
    folder: Path,
    pictures: int,
    seed: int = 0,
    sampler: Sampler = DEFAULT_SAMPLER,
    sentences: Sequence[str] = (),
) -> scoring.TaskReport:
    """Score `pictures` of each task in English, and as many spread over the other languages.

    With `sentences`, each with `{name}` for the thing, the English prompts of "in sentences" are of these.

    The true drawings come from the packages in `folder`, which are downloaded with npm if they are missing.

    Raises:
        DataError: the packages are missing and cannot be downloaded.
        WeightsError: the evaluator's weights are missing.
    """
    _, sources, _ = true_sources(folder)
    report = scoring.TaskReport(model)
    scoring.evaluate_tasks(
        report,
        Artist(model, weights, sampler.steps, sampler.guidance),
        TaskJudge(ranker(weights)),
        sources,
        pictures,
        round(pictures / LEAST_FOR_LANGUAGES) if pictures >= LEAST_FOR_LANGUAGES else 0,
        seed,
        lambda task: click.echo(f"{task} ...", err=True),
        sentences,
    )
    return report


def print_tasks(report: scoring.TaskReport, sheet: Path | None) -> None:
    """Print the table as Markdown and the report as one line of JSON; write the contact sheet."""
    if sheet is not None:
        save_sheet(report.shown, sheet)
    click.echo(report.markdown)
    click.echo(json.dumps(report.summary))
