"""Open prompts: how often the main noun of a prompt that was written for large models is recognised in the picture.

    python -m bench.open_prompts [--quick] [--model limner-gan]

The prompts in data/open_prompts.tsv are the first 100 of PartiPrompts (Yu et al. 2022, Apache-2.0) in its challenge
"Simple Detail" and its categories of things whose main noun is among the evaluator's names; the names beside each
prompt, which count as its noun, were written by hand without drawing. A picture shows its noun if one of these names is
among the five nearest to the picture or to one of the things in it, in its own colours or in others, as in
`bench.tasks`. True drawings of the nouns are the ceiling of this judge, and the pictures judged by other prompts' nouns
its floor. A prompt's description is presented as well: a presentation that cautions says that something is missing,
stands for something else or is not recognised.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from bench.captions import cautions
from bench.common import RESULTS, conclude
from limner_training import data
from limner_training.runner import set_up
from limner_training.tasks import running
from limner_training.tasks.drawing import Artist, Drawn
from limner_training.tasks.judging import TOP, Pixels, Ranker, Verdict, hues, shrunk
from limner_training.tasks.localising import crop, things_in
from limner_training.tasks.prompts import TaskPrompt
from limner_training.tasks.scoring import Share
from limner_training.tasks.sheet import save_sheet
from limner_worker.networks.weights import SHIPPED
from limner_worker.stages.interpretation.presenting.presenter import recognizers_of

FILE: Final = Path(__file__).parent / "data" / "open_prompts.tsv"
LEAST: Final = 0.6
QUICK: Final = 5
"""Every fifth prompt only."""
MOST_THINGS: Final = 8


@dataclass(frozen=True)
class OpenPrompt:
    """A prompt, and the names of the evaluator that mean its main noun."""

    text: str
    names: tuple[str, ...]


def open_prompts() -> list[OpenPrompt]:
    """Return the prompts of the file, in its order."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [OpenPrompt(row["prompt"], tuple(row["names"].split("|"))) for row in rows]


def shows(ranker: Ranker, picture: Pixels, names: Sequence[str]) -> bool:
    """Return whether one of the names is among the nearest to a picture [H, W, 3] or to a thing in it."""
    views = [shrunk(picture)[None], *(hues(crop(picture, thing)) for thing in things_in(picture)[:MOST_THINGS])]
    return int(ranker(np.concatenate(views), names).min()) < TOP


def others(asked: Sequence[OpenPrompt]) -> list[OpenPrompt]:
    """Return for each prompt another one that shares no name with it."""
    turned = [[asked[(at + len(asked) // 2 + by) % len(asked)] for by in range(len(asked))] for at in range(len(asked))]
    return [
        next(other for other in some if not set(own.names) & set(other.names))
        for own, some in zip(asked, turned, strict=True)
    ]


def ceiling(ranker: Ranker, asked: Sequence[OpenPrompt]) -> Share:
    """Return how many true drawings of the nouns, one of each prompt's first name, are recognised. Raises DataError."""
    found: dict[str, list[str | bytes]] = {}
    for drawing, source in data.find_drawings(data.fetched(data.cache_folder())):
        found.setdefault(drawing.name, []).append(source)
    choose = random.Random(0)  # noqa: S311 - drawings that are always the same
    known = [prompt for prompt in asked if prompt.names[0] in found]
    true = [shows(ranker, data.rasterise(choose.choice(found[each.names[0]])), each.names) for each in known]
    return Share(sum(true), len(true))


def measure(artist: Artist, ranker: Ranker, asked: Sequence[OpenPrompt], seed: int) -> list[tuple[Drawn, bool, bool]]:
    """Return the picture of each prompt, whether its noun is recognised, and whether its presentation cautions."""
    evaluator = recognizers_of({artist.card.name: artist.card})[artist.card.name]
    made = artist.drawn([TaskPrompt("open", "en", each.text, ()) for each in asked], seed)
    return [
        (drawn, shows(ranker, drawn.picture, prompt.names), cautions(evaluator, drawn))
        for drawn, prompt in zip(made, asked, strict=True)
    ]


@click.command()
@click.option("--quick", is_flag=True, help=f"Every {QUICK}th prompt; under 50 seconds.")
@click.option("--model", type=click.Choice(["limner-flow", "limner-gan"]), default="limner-flow", show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the first picture.")
@click.option("--threads", default=2, show_default=True, help="CPU threads.")
def main(quick: bool, model: str, seed: int, threads: int) -> None:
    """Print how many nouns are recognised and how many of the others are told, and write both to results/."""
    set_up(threads, 0)
    asked = open_prompts()[:: QUICK if quick else 1]
    ranker = running.ranker(SHIPPED)
    found = measure(Artist(model, SHIPPED), ranker, asked, seed)
    RESULTS.mkdir(exist_ok=True)
    shown = [
        (TaskPrompt("open", "en", prompt.text, ()), drawn.picture, Verdict(right, right, right, 0))
        for prompt, (drawn, right, _) in zip(asked, found, strict=True)
    ]
    save_sheet(shown, RESULTS / f"open-prompts-{model}.png")
    total = Share(sum(right for _, right, _ in found), len(found))
    unflagged = [right for _, right, careful in found if not careful]
    wrong = [careful for _, right, careful in found if not right]
    floor = [shows(ranker, each.picture, other.names) for (each, _, _), other in zip(found, others(asked), strict=True)]
    figures: dict[str, Any] = {
        "noun recognised": total.figures,
        "without a caution": Share(sum(unflagged), len(unflagged)).figures,
        "not recognised": {"told": sum(wrong), "n": len(wrong)},
        "ceiling": ceiling(ranker, asked).figures,
        "floor": Share(sum(floor), len(floor)).figures,
    }
    for prompt, (_, right, careful) in zip(asked, found, strict=True):
        if not right:
            print(f"not recognised{' (told)' if careful else ''}: {prompt.text}")
    print(f"noun recognised: {total}")
    conclude(f"open-prompts-{model}", figures, f"the noun of {LEAST} of the prompts", met=total.value >= LEAST)


if __name__ == "__main__":
    main()
