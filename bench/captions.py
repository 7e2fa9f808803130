"""How often the words under a picture claim what is not in it, against the tasks' judge.

    python -m bench.captions [--quick] [--pictures 24]

The prompts are those of `bench.tasks`, asked for as descriptions in English and presented by rules. A presentation that
cautions (something is missing, stands for something else, looks like another thing or is not recognised) claims less
than its prompt and is counted apart; any other claims all of it. A claim is true if the judge finds the things,
colours, numbers and places of the prompt: the image tower names things, the rest is measured. The share of true
drawings that the judge finds right is its ceiling. A claim it does not confirm may thus still be true.
"""

from __future__ import annotations

import random
from typing import Any, Final

import click

from bench.common import conclude
from limner_training.data import cache_folder
from limner_training.runner import set_up
from limner_training.tasks import running
from limner_training.tasks.drawing import Artist, Drawn
from limner_training.tasks.judging import TaskJudge
from limner_training.tasks.prompts import prompts
from limner_training.tasks.scoring import GOALS, Share
from limner_training.tasks.selection import true_sources
from limner_training.tasks.true_drawings import drawn
from limner_worker.networks.weights import SHIPPED
from limner_worker.stages.interpretation.presenting.presenter import ImageRecognizer, Presenter, recognizers_of
from limner_worker.stages.recognising import recognition_of

MODEL: Final = "limner-flow"
QUICK: Final = 3
LEAST: Final = 0.97


def cautions(evaluator: ImageRecognizer, made: Drawn) -> bool:
    """Return whether the presentation of a picture says more than what was asked for."""
    task = made.task
    spec = task.spec.model_copy(update={"description": task.spec.prompt})
    seen = recognition_of(evaluator, task, made.picture, evaluator.look([made.picture, *task.things]))
    told = Presenter(recognizers={spec.model: evaluator})(spec, task.drawn_as, task.scene, [seen])
    return told != Presenter()(spec)


@click.command()
@click.option("--pictures", default=24, show_default=True, help="Of each task.")
@click.option("--quick", is_flag=True, help=f"{QUICK} of each task.")
@click.option("--threads", default=2, show_default=True, help="CPU threads.")
def main(pictures: int, quick: bool, threads: int) -> None:
    """Print the precision of claims by task, and write it to results/."""
    set_up(threads, 0)
    artist, judge = Artist(MODEL, SHIPPED), TaskJudge(running.ranker(SHIPPED))
    evaluator = recognizers_of({MODEL: artist.card})[MODEL]
    sources = true_sources(cache_folder())[1]
    figures: dict[str, Any] = {}
    claimed: list[bool] = []
    for task in ("seen", *GOALS):
        asked = prompts(task, "en", QUICK if quick else pictures)
        made = artist.drawn(asked, 0)
        right = [judge.verdict(each.picture, prompt).right for each, prompt in zip(made, asked, strict=True)]
        careful = [cautions(evaluator, each) for each in made]
        claims = [each for each, caution in zip(right, careful, strict=True) if not caution]
        choose = random.Random(0)  # noqa: S311 - pictures that are the same everywhere
        true = [judge.verdict(drawn(prompt, sources, choose), prompt).right for prompt in asked]
        claimed += claims
        figures[task] = {"true": Share(sum(claims), len(claims)).figures, "cautioned": sum(careful)}
        figures[task] |= {"ceiling": Share(sum(true), len(true)).figures}
        told = f"{sum(claims)} of {len(claims)} claims true, {sum(careful)} cautioned"
        print(f"{task}: {told}; ceiling {sum(true)} of {len(true)}", flush=True)
    total = Share(sum(claimed), len(claimed))
    figures["all"] = total.figures
    print(f"all claims: {total}")
    conclude("captions", figures, f"{LEAST} of the claims are true", met=total.value >= LEAST)


if __name__ == "__main__":
    main()
