"""`limner train` and `limner evaluate`."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from limner_shared.errors import CardError
from limner_training import evaluation, stages
from limner_training.data import DataError, cache_folder, prepare
from limner_training.known_drawings import write_drawings
from limner_training.loop import CheckpointError
from limner_training.runner import set_up
from limner_training.tagging.training import DESCRIPTIONS, FOLLOW_UPS, TaggerOptions, train_tagger
from limner_training.tasks import running, selection, vocabulary
from limner_training.tasks.prompts import NAME
from limner_training.tasks.vocabulary import NOUNS
from limner_worker.generators.text_encoding.sentence_encoder import EncoderError
from limner_worker.networks.weights import SHIPPED, WeightsError
from limner_worker.stages.interpretation.presenting.known_drawings import DRAWINGS

# Minutes, batch size and peak learning rate of each stage: about those of the shipped weights, on two shared cores.
DEFAULTS: Final[dict[str, tuple[float, int, float]]] = {
    "text": (14.0, 256, 1e-3),
    "vae": (25.0, 32, 2e-3),
    "draft": (4.0, 512, 2e-3),
    "flow": (60.0, 64, 2e-3),
    "gan": (25.0, 64, 4e-4),
    "gan-log": (25.0, 64, 4e-4),
    "gan-relativistic": (25.0, 64, 4e-4),
    "upscaler": (11.0, 8, 2e-3),
}
TAGGERS: Final = {"descriptions": DESCRIPTIONS, "follow-ups": FOLLOW_UPS}
COMPARED: Final = frozenset(("gan-log", "gan-relativistic"))
"""Stages that ship nothing, which `limner train all` leaves out."""
TRAINERS: Final[dict[str, Callable[[stages.Options], None]]] = {
    "text": stages.train_towers,
    "vae": stages.train_autoencoder,
    "draft": stages.train_draft,
    "flow": stages.train_flow,
    "gan": stages.train_gan,
    "gan-log": functools.partial(stages.train_gan, objective="log"),
    "gan-relativistic": functools.partial(stages.train_gan, objective="relativistic"),
    "upscaler": stages.train_upscaler,
}


def _explained(command: Callable[..., None]) -> Callable[..., None]:
    """Show errors that the user can correct as one line, not as a traceback."""

    @functools.wraps(command)
    def wrapped(*arguments: object, **options: object) -> None:
        try:
            command(*arguments, **options)
        except (DataError, WeightsError, EncoderError, CardError, CheckpointError, FloatingPointError) as error:
            raise click.ClickException(str(error)) from error

    return wrapped


@click.group()
def train() -> None:
    """Train the built-in models, from the npm packages to the weights in this package.

    Data and checkpoints are kept in $LIMNER_CACHE_DIR/training (by default in ~/.cache/limner/training).
    """


@train.command("data")
@click.option("--workers", default=2, show_default=True, help="Number of rendering processes.")
@click.option("--seed", default=0, show_default=True, help="Seed of the choice of captions.")
@_explained
def train_data(workers: int, seed: int) -> None:
    """Download the drawings and their names with npm, render them and embed their captions."""
    folder = cache_folder()
    with _bar("rendering") as advance:
        count = prepare(folder, workers, advance)
    with _bar("embedding captions") as advance:
        captions = stages.embed_captions(folder, set_up(workers, seed), workers, advance)
    click.echo(f"{count} drawings and {captions} captions in {folder}")


def _stage(name: str, text: str) -> None:
    minutes, batch, rate = DEFAULTS[name]

    @train.command(name, help=text)
    @click.option("--minutes", default=minutes, show_default=True, help="Training time of this call.")
    @click.option("--threads", default=2, show_default=True, help="CPU threads.")
    @click.option("--seed", default=0, show_default=True, help="Seed of the held-out split, batches and noise.")
    @click.option("--batch", default=batch, show_default=True, help="Batch size in images.")
    @click.option("--rate", default=rate, show_default=True, help="Peak learning rate.")
    @click.option("--fresh", is_flag=True, help="Start from scratch, not from the last checkpoint.")
    @_explained
    def _(minutes: float, threads: int, seed: int, batch: int, rate: float, fresh: bool) -> None:
        generator = set_up(threads, seed)
        TRAINERS[name](stages.Options(cache_folder(), generator, minutes, seed, batch, rate, fresh))


_stage("text", "Train the text head and the evaluator's image tower, in ten languages.")
_stage("vae", "Train the autoencoder, 64x64x3 <-> 8x8x16. The flow must be trained again afterwards.")
_stage("draft", "Train the flow's draft: it predicts mean latents from text and style.")
_stage("flow", "Train the flow transformer on the autoencoder's latents.")
_stage("gan", "Train the conditional GAN, from the draft and the autoencoder's decoder.")
_stage("gan-log", "Train the GAN with the logarithmic objective, for comparison; not shipped.")
_stage("gan-relativistic", "Train the GAN with the relativistic objective, for comparison; not shipped.")
_stage("upscaler", "Train the 4x upscaler on original and on reconstructed drawings.")


@train.command("tagger")
@click.option("--of", "texts", type=click.Choice([*TAGGERS]), default="descriptions", show_default=True, help="Texts.")
@click.option("--each", default=8000, show_default=True, help="Synthetic texts of each language.")
@click.option("--epochs", default=5, show_default=True, help="Times that each is read.")
@click.option("--threads", default=1, show_default=True, help="CPU threads; another number rounds differently.")
@click.option("--seed", default=0, show_default=True, help="Seed of the texts and batches.")
@click.option("--batch", default=64, show_default=True, help="Batch size in texts.")
@click.option("--rate", default=2e-3, show_default=True, help="Peak learning rate.")
@click.option("--continue", "continued", is_flag=True, help="Start from the weights of the last run.")
@_explained
def tagger(
    texts: str, each: int, epochs: int, threads: int, seed: int, batch: int, rate: float, *, continued: bool
) -> None:
    """Train the tagger of words in descriptions, or that in messages about a picture, on synthetic ones."""
    set_up(threads, seed)
    options = TaggerOptions(cache_folder(), each, epochs, batch, rate, seed, continued)
    train_tagger(TAGGERS[texts], options, click.echo)


@train.command("nouns")
@click.option("--weights", type=click.Path(path_type=Path), default=SHIPPED, help="Default: the package's.")
@click.option("--to", "target", type=click.Path(path_type=Path), default=NOUNS, help="Default: the package's list.")
@click.option("--threads", default=2, show_default=True, help="CPU threads.")
@_explained
def choose_nouns(weights: Path, target: Path, threads: int) -> None:
    """Choose the nouns of the evaluation's tasks by what the trained evaluator recognises in true drawings."""
    set_up(threads, 0)
    with _bar("choosing") as advance:
        found = selection.choose(cache_folder(), running.ranker(weights), advance)
    vocabulary.save(found, target)
    click.echo(f"{len(found)} nouns in {target}")


@train.command("drawings")
@click.option("--weights", type=click.Path(path_type=Path), default=SHIPPED, help="Default: the package's.")
@click.option("--threads", default=2, show_default=True, help="CPU threads.")
@_explained
def drawings(weights: Path, threads: int) -> None:
    """Write beside the trained evaluator where it sees the drawings, by which it knows failed pictures of them."""
    set_up(threads, 0)
    with _bar("looking") as advance:
        count = write_drawings(cache_folder(), weights / "limner-text", advance)
    click.echo(f"{count} drawings in {weights / 'limner-text' / DRAWINGS}")


@train.command("export")
@click.option("--to", "target", type=click.Path(path_type=Path), default=SHIPPED, help="Default: the package's models.")
@_explained
def export(target: Path) -> None:
    """Copy the trained weights from the cache to the folder that the service loads."""
    for name, size in stages.export(cache_folder(), target).items():
        click.echo(f"{name}: {size / 1e6:.1f} MB")


@train.command("all")
@click.option("--threads", default=2, show_default=True, help="CPU threads.")
@click.option("--seed", default=0, show_default=True, help="Seed of all stages.")
@click.pass_context
def train_all(context: click.Context, threads: int, seed: int) -> None:
    """Run all stages, from the data to the exported weights (about three hours on two cores)."""
    context.invoke(train_data, workers=threads, seed=seed)
    for name, (minutes, batch, rate) in DEFAULTS.items():
        if name in COMPARED:
            continue
        command = train.commands[name]
        context.invoke(command, minutes=minutes, threads=threads, seed=seed, batch=batch, rate=rate, fresh=False)
    for texts in TAGGERS:
        context.invoke(tagger, texts=texts, threads=threads, seed=seed)
    context.invoke(export, target=SHIPPED)
    context.invoke(drawings, weights=SHIPPED, threads=threads)


@contextmanager
def _bar(what: str) -> Generator[Callable[[int, int], None]]:
    with Progress() as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@click.command()
@click.argument("model", type=click.Choice(evaluation.MODELS))
@click.option("--quick", is_flag=True, help="Use a small sample: under a minute.")
@click.option("--weights", type=click.Path(path_type=Path), default=SHIPPED, help="Default: the package's.")
@click.option("--tasks", is_flag=True, help="Score compositions instead: colours, numbers, pairs and positions.")
@click.option(
    "--pictures", type=click.IntRange(min=1), help="Pictures of each task, and again in ten languages. Default: 512."
)
@click.option(
    "--sentence",
    "sentences",
    multiple=True,
    help="An English sentence of --tasks with {name} for the thing; repeatable. Default: three.",
)
@click.option("--sheet", type=click.Path(path_type=Path), help="Also write a contact sheet (PNG).")
@click.option("--prompt", "prompts", multiple=True, help="A prompt of the sheet; repeatable. Default: 16 common ones.")
@click.option(
    "--prompts", "file", type=click.File(encoding="utf-8"), help="A file with a prompt of the sheet on each line."
)
@click.option(
    "--steps", type=click.IntRange(1, 100), default=evaluation.STEPS, show_default=True, help="Steps of limner-flow."
)
@click.option(
    "--guidance",
    type=click.FloatRange(1, 12),
    default=evaluation.GUIDANCE,
    show_default=True,
    help="Guidance of limner-flow.",
)
@click.option("--threads", default=2, show_default=True, help="CPU threads.")
@click.option("--seed", default=0, show_default=True, help="Seed of the images and the held-out split.")
@_explained
def evaluate(
    *,
    model: str,
    quick: bool,
    weights: Path,
    tasks: bool,
    pictures: int | None,
    sentences: tuple[str, ...],
    sheet: Path | None,
    prompts: tuple[str, ...],
    file: TextIO | None,
    steps: int,
    guidance: float,
    threads: int,
    seed: int,
) -> None:
    """Score a built-in model's images, next to true and random drawings. Needs the data of `limner train data`."""
    shown = (*prompts, *_prompts_in(file)) or evaluation.PROMPTS
    if sheet is None and shown != evaluation.PROMPTS:
        raise click.UsageError("--prompt and --prompts are for a contact sheet: name its file with --sheet.")
    if not tasks and (pictures is not None or sentences):
        raise click.UsageError("--pictures and --sentence are for --tasks.")
    if any(NAME not in each for each in sentences):
        raise click.UsageError(f"--sentence: each has {NAME} where the thing stands.")
    set_up(threads, seed)
    sampler = evaluation.Sampler(steps, guidance)
    if tasks:
        if shown != evaluation.PROMPTS or model == "limner-vae":
            raise click.UsageError("--tasks has its own prompts, which limner-flow and limner-gan draw.")
        count = pictures or (running.QUICK if quick else running.PICTURES)
        running.print_tasks(running.score_tasks(model, weights, cache_folder(), count, seed, sampler, sentences), sheet)
        return
    if sheet is not None:
        evaluation.contact_sheet(model, weights, shown, sheet, seed, sampler)
    sizes = evaluation.QUICK if quick else evaluation.Sizes()
    found = evaluation.evaluate(model, weights, cache_folder(), sizes, seed, sampler)
    Console().print(_table(found))
    for name, value in found.figures.items():
        click.echo(f"{name}: {value:.3g}")
    click.echo(json.dumps(found.summary))


def _prompts_in(file: TextIO | None) -> list[str]:
    """Return the lines that are not empty. Raises UsageError for a file without any, or not in UTF-8."""
    if file is None:
        return []
    try:
        found = [line.strip() for line in file if line.strip()]
    except UnicodeDecodeError as error:
        raise click.UsageError(f"--prompts: {file.name} is not text in UTF-8.") from error
    if not found:
        raise click.UsageError(f"--prompts: {file.name} has no prompts.")
    return found


def _table(found: evaluation.Report) -> Table:
    table = Table(title=found.model)
    for column in ("pictures", "top-1", "top-5", "style", "Fréchet", "diversity", "nearest"):
        table.add_column(column, justify="left" if column == "pictures" else "right")
    for name, row in found.rows.items():
        spread = "" if row.diversity is None else f"{row.diversity:.2f}"
        shares = (f"{value:.2f}" for value in (row.top1, row.top5, row.style))
        table.add_row(name, *shares, f"{row.frechet:.1f}", spread, f"{row.nearest:.2f}")
    return table
