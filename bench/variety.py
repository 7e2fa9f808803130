"""How much pictures of one prompt differ, relative to how much true drawings of it do.

    python -m bench.variety [--quick] [--model limner-gan]

Each concept is drawn four times: as one job of four pictures, and with four independent seeds, as by "Again". The mean
difference of two such pictures (of 255, over pixels of 64x64) is divided by that of the four true drawings of the
concept, one in each style, over the concepts that all styles have; the scores are of all concepts. The same is drawn in
the card's first style only, which was the default before the seed chose the style. The evaluator's image tower ranks
all 1,661 names, as in `bench.sentences`, and names the style. Prompts of the tasks (`bench.tasks`) are drawn four times
as well, beside four true pictures of each, one in each style, and are judged as the tasks are. True drawings come from
the packages of `limner train data`, which are downloaded with npm if they are missing.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, Final

import click
import numpy as np
import torch
from torch import Tensor

from bench.common import conclude
from bench.sentences import Scorer, chosen, pixels
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import MAX_SEED, JobRequest, JobSpec
from limner_training import data
from limner_training.tasks import running
from limner_training.tasks.drawing import Artist
from limner_training.tasks.judging import Pixels, TaskJudge, shrunk
from limner_training.tasks.prompts import TaskPrompt, prompts
from limner_training.tasks.scoring import GOALS
from limner_training.tasks.selection import true_sources
from limner_training.tasks.true_drawings import Sources, drawn
from limner_worker.networks.weights import SHIPPED

SEEDS: Final = 4
LEAST: Final = 0.6
MOST_LOST: Final = 0.01
"""By so much may top-5 fall below that of pictures in the first style."""


def true_drawings(names: Sequence[str]) -> dict[str, Tensor]:
    """The drawings of each name, one in each style that has it: float32 [N, 3, 64, 64] in [-1, 1]. Raises DataError."""
    found: dict[str, list[str | bytes]] = {}
    for drawing, source in data.find_drawings(data.fetched(data.cache_folder())):
        if drawing.name in names:
            found.setdefault(drawing.name, []).append(source)
    return {name: pixels([data.rasterise(source) for source in sources]) for name, sources in found.items()}


def difference(pictures: Tensor) -> float:
    """The mean difference of two of these pictures [N, 3, 64, 64], of 255."""
    pairs = [(first - second).abs().mean() for first, second in combinations(pictures, 2)]
    return float(torch.stack(pairs).mean()) * 127.5


def measure(scorer: Scorer, concepts: Mapping[str, Tensor], pictures: Sequence[Tensor]) -> dict[str, float]:
    """The scores of pictures [N, 3, 64, 64] of each concept, and their difference where every style has a drawing."""
    full = [(of, true) for of, true in zip(pictures, concepts.values(), strict=True) if len(true) == len(data.STYLES)]
    varied, true = (sum(map(difference, groups)) for groups in zip(*full, strict=True))
    names = [name for name, group in zip(concepts, pictures, strict=True) for _ in group]
    top1, top5 = scorer.recognised(torch.cat(list(pictures)), names)
    figures = {"difference": varied / len(full), "of true drawings'": varied / true, "top-1": top1, "top-5": top5}
    return {name: round(value, 3) for name, value in figures.items()}


def styled(scorer: Scorer, pictures: Tensor, specs: Sequence[JobSpec]) -> float:
    """The share of pictures whose style the evaluator recognises."""
    with torch.inference_mode():
        found = scorer.tower(pictures).style.argmax(1)
    right = torch.tensor([scorer.tower.styles.index(spec.style_for(spec.seed) or "") for spec in specs])
    return round(float((found == right).float().mean()), 3)


def jobs(scorer: Scorer, concepts: Mapping[str, Tensor], *, independent: bool, **changes: Any) -> list[JobSpec]:
    """SEEDS jobs of one picture for each concept, which equal one job of SEEDS pictures unless `independent`."""
    choose = random.Random(1)  # noqa: S311 - a choice that is always the same
    found: list[JobSpec] = []
    for name in concepts:
        first = choose.randrange(MAX_SEED - SEEDS)
        seeds = choose.sample(range(MAX_SEED), SEEDS) if independent else range(first, first + SEEDS)
        requests = [JobRequest(prompt=name, seed=seed, width=64, height=64, **changes) for seed in seeds]
        found += [scorer.card.resolve(request) for request in requests]
    return found


def scenes(model: str, sources: Sources, count: int) -> dict[str, dict[str, float]]:
    """The difference of pictures of `count` prompts of each task, relative to true ones, and how many are right."""
    artist, judge = Artist(model, SHIPPED), TaskJudge(running.ranker(SHIPPED))
    choose = random.Random(0)  # noqa: S311 - pictures that are always the same
    found: dict[str, dict[str, float]] = {}
    for task in GOALS:
        some = [prompt for prompt in prompts(task, "en", 5 * count) if in_all_styles(prompt)][:count]
        made = [artist([prompt] * SEEDS, 100 * place) for place, prompt in enumerate(some)]
        true = [[drawn(replace(prompt, style=style), sources, choose) for style in data.STYLES] for prompt in some]
        right = [judge.verdict(picture, prompt).right for prompt, of in zip(some, made, strict=True) for picture in of]
        ours, theirs = (np.mean([difference(small(of)) for of in groups]) for groups in (made, true))
        found[task] = {"prompts": len(some), "right": round(sum(right) / len(right), 3)}
        found[task] |= {"difference": round(float(ours), 1), "of true drawings'": round(float(ours / theirs), 3)}
        print(task, found[task])
    return found


def in_all_styles(prompt: TaskPrompt) -> bool:
    """Whether every style has a drawing of each thing."""
    return all(set(data.STYLES) <= set(wanted.noun.styles) for wanted in prompt.wanted)


def small(pictures: Sequence[Pixels]) -> Tensor:
    """Pictures [H, W, 3] as float32 [N, 3, 64, 64] in [-1, 1]."""
    return torch.as_tensor(np.stack([shrunk(each) for each in pictures])).permute(0, 3, 1, 2) / 127.5 - 1


@click.command()
@click.option("--quick", is_flag=True, help="16 concepts instead of 64; under a minute once the drawings are there.")
@click.option("--model", type=click.Choice(["limner-flow", "limner-gan"]), default="limner-flow", show_default=True)
def main(quick: bool, model: str) -> None:
    """Print the differences and scores, and write them to results/."""
    scorer = Scorer(Catalogue.load([], model).get(model))
    concepts = true_drawings(chosen(scorer.names.names, 16 if quick else 64))
    figures: dict[str, Any] = {"concepts": len(concepts)}
    figures["true drawings"] = measure(scorer, concepts, list(concepts.values()))
    print("true drawings", figures["true drawings"])
    ways: dict[str, dict[str, Any]] = {
        "in the first style": {"independent": False, "style": scorer.card.styles[0]},
        "four pictures": {"independent": False},
        "four seeds": {"independent": True},
    }
    for way, how in ways.items():
        specs = jobs(scorer, concepts, **how)
        pictures = scorer.draw(specs)
        of_each = measure(scorer, concepts, torch.split(pictures, SEEDS))
        figures[way] = of_each | {"style": styled(scorer, pictures, specs)}
        print(way, figures[way])
    if scorer.card.scenes is not None:
        figures["scenes"] = scenes(model, true_sources(data.cache_folder())[1], 4 if quick else 16)
    varied = all(each["of true drawings'"] >= LEAST for each in figures.get("scenes", {}).values())
    kept = figures["four pictures"]["top-5"] >= figures["in the first style"]["top-5"] - MOST_LOST
    conclude(
        f"variety-{model}",
        figures,
        f"four pictures differ by {LEAST} of what true drawings do, and top-5 falls by at most {MOST_LOST}",
        met=kept and varied and figures["four pictures"]["of true drawings'"] >= LEAST,
    )


if __name__ == "__main__":
    main()
