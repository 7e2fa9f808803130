"""What a built-in model draws of what was said: things, colours, numbers, pairs, positions (in the manner of GenEval).

    python -m bench.tasks [--quick] [--pictures 512] [--model limner-gan] [--sheet docs/tasks.webp]

Each task's prompts are made by rule from combinations that no training may use; `limner evaluate --tasks` prints the
same table. The evaluator's image tower names the things, which are found by their separation from a plain background;
colours, numbers and places are measured. True drawings arranged by each prompt are the ceiling of the judge, the
model's pictures judged by other prompts are its floor. True drawings come from the packages of `limner train data`,
which are downloaded with npm if they are missing.
"""

from __future__ import annotations

from pathlib import Path

import click

from bench.common import RESULTS, conclude
from limner_training.data import cache_folder
from limner_training.runner import set_up
from limner_training.tasks import running
from limner_training.tasks.sheet import save_sheet
from limner_worker.networks.weights import SHIPPED


@click.command()
@click.option("--quick", is_flag=True, help=f"{running.QUICK} pictures of each task, in English only; under a minute.")
@click.option(
    "--pictures", default=running.PICTURES, show_default=True, help="Of each task, and again in ten languages."
)
@click.option("--model", type=click.Choice(["limner-flow", "limner-gan"]), default="limner-flow", show_default=True)
@click.option("--weights", type=click.Path(path_type=Path), default=SHIPPED, help="Default: the package's.")
@click.option("--sheet", type=click.Path(path_type=Path), help="Write the contact sheet here too.")
@click.option("--threads", default=2, show_default=True, help="CPU threads.")
def main(quick: bool, pictures: int, model: str, weights: Path, sheet: Path | None, threads: int) -> None:
    """Print the table, and write figures and a contact sheet to results/."""
    set_up(threads, 0)
    found = running.score_tasks(model, weights, cache_folder(), running.QUICK if quick else pictures)
    RESULTS.mkdir(exist_ok=True)
    for file in filter(None, (RESULTS / f"tasks-{model}.png", sheet)):
        save_sheet(found.shown, file)
    print(found.markdown)
    print(f"right on the contact sheet: {found.shown_share.right} of {found.shown_share.pictures}")
    summary = found.summary
    goal = ", ".join(f"{task} {least:.2f}" for task, least in summary["goal"].items())
    conclude(f"tasks-{model}", summary["figures"], f"at least: {goal}", met=all(summary["met"].values()))


if __name__ == "__main__":
    main()
