"""`make matrix`: support for every text-to-image and edit pipeline of diffusers, written to docs/pipelines.md.

The classes are listed from the library, so those of a new version are included. Each class with a tiny random pipeline
in the tests is loaded through a card; a mixed batch is compared with `pipe(…)`, also with each scheduler that fits, and
a picture that is resumed after each of its steps with itself.

    python -m tests.engine.matrix [CLASS …]

With classes, only these are tried and only their lines change.
"""

from __future__ import annotations

from tests.engine import vision_operators  # noqa: F401  # pyright: ignore[reportUnusedImport] - before anything imports torchvision

# isort: split

import inspect
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import diffusers
import numpy as np
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from tests.engine import odd_pipelines, tiny_variants
from tests.engine.matrix_cards import loaded
from tests.engine.pipeline_jobs import job_of, reference, run
from tests.engine.resuming import wrong_steps
from tests.engine.tiny_builders import ARGUMENTS, BUILDERS, NEEDS, NOT_BUILT, SIZES

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.request_limits import DEFAULT_STRENGTH
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.diffusers import pipeline_checks
from limner_worker.generators.registry import load

TABLE: Final = Path("docs/pipelines.md")
TASKS: Final = ("text-to-image", "image-to-image", "inpainting")
LINE: Final = re.compile(r"^\| (\w+(?:Pipeline\w*)) \| (.*)$", re.MULTILINE)
NOT_HERE: Final = re.compile("video|audio|frame|gen_length")
"""Arguments of pipelines that draw no picture."""
NO_PICTURE: Final = re.compile("^Auto|^Flax|Audio|Spectrogram|ConsisID|Onnx")
"""Names of what chooses a pipeline, and of pipelines of sound and video and of other runtimes."""
GIVEN: Final = frozenset({"self", "prompt", "image", "mask_image", "height", "width"})
"""The arguments that requests give; a pipeline that requires others is not one of those listed."""
HEAD: Final = """# Pipelines of diffusers

Made by `make matrix` with diffusers {version}. The library's text-to-image and edit pipelines and their support:

- **batched**: a mixed batch of a tiny random pipeline gave the pictures that `pipe(…)` gives alone, within 1/255 in
  float32, with as many schedulers as the table says.
- **per image**: the same, with the denoiser or the named calls made for one image at a time.
- **refused**: a card of it is refused at load, with the reason given.
- **needs**: a package that `limner[pipelines]` installs; a card is refused at load without it, with this advice.
- **no effect**: what did not change the picture. A card that allows negative prompts or a choice of guidance where the
  pipeline's call takes none is refused at load, with what to write instead. Where the prompt has no effect, the random
  weights of the tiny pipeline do not let it through: there, mixed batches prove nothing about texts. Not tried: this
  was not looked for.
- **not built here**: the tests have no tiny pipeline of it, for the reason given. Like every pipeline, it is checked at
  load: it is batched if the check finds that it can be, and refused if it does not work.

A picture that another worker continues, after any step, has the bytes that it has without interruption: with every
pipeline that has a tiny one here.

A pipeline that follows a control picture, by a control network, an adapter or channels of its denoiser, was given one;
scales and parts of the steps differ in its mixed batches. Its card has `[control]`.

Pipelines that draw a picture with a million pixels, whatever they are asked for, draw it here with 64x64 of them.

Reference pictures by an IP-Adapter, which a card's `[reference]` names, were tried with Stable Diffusion, SDXL and
FLUX.

In half precision on a CPU, mixed batches of Stable Diffusion, SDXL, SD 3, FLUX and Sana have the bytes of `pipe(…)` in
bfloat16 and its pictures within 1/255 in float16; an image alone has its bytes in both.

A tiny random pipeline may amplify rounding, most of all Kandinsky's, whose decoder chooses the nearest entry of a
table. With some schedulers, `pipe(…)` itself draws a picture that differs by more than 0.5/255, or is not finite, once
its weights differ by their last two bits. Where such a picture differs in a batch, that proves nothing, and its
scheduler is not counted.

{summary}

| pipeline | support | tasks | schedulers | no effect |
|---|---|---|---|---|
"""


@dataclass
class Row:
    """A line of the table."""

    support: str
    tasks: list[str] = field(default_factory=list[str])
    schedulers: list[str] = field(default_factory=list[str])
    """The short names of those that were tried."""
    without: list[str] = field(default_factory=list[str])
    """What has no effect, so that requests cannot give it."""

    @property
    def wrong(self) -> bool:
        """Whether the pipeline draws other pictures in a batch or resumed than alone, or could not be tried."""
        return "**" in self.support


def classes() -> Iterator[str]:
    """Yield the names of all pipelines that draw a picture from a text, with or without another picture."""
    for name in sorted(dir(diffusers)):
        cls = getattr(diffusers, name, None)
        if not inspect.isclass(cls) or "Pipeline" not in name or NO_PICTURE.search(name):
            continue
        if hasattr(cls, "_backends"):
            yield name
        elif issubclass(cls, DiffusionPipeline) and cls is not DiffusionPipeline:
            takes = inspect.signature(cls.__call__).parameters
            needed = {
                key
                for key, each in takes.items()
                if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
            }
            if "prompt" in takes and not any(map(NOT_HERE.search, takes)) and needed <= GIVEN:
                yield name


def outcome(name: str, folder: Path) -> Row:
    """Return how a pipeline is supported: the tasks that work, or why it is refused."""
    build = BUILDERS[name]
    base = tiny_variants.BASES.get(name, build.__name__)
    options = {"arguments": ARGUMENTS.get(base, {}) | ARGUMENTS.get(build.__name__, {})}
    sizes = SIZES.get(name) or SIZES.get(base, [(32, 32), (64, 32)])
    card = odd_pipelines.saved(build, folder, options=options, sizes=sizes, negative_prompts=True)
    refusals: dict[str, str] = {}
    row = Row("")
    for task in TASKS:
        try:
            one, generator = loaded(card.model_copy(update={"tasks": (task,)}), folder / "cache")
        except CardError as error:
            refusals[task] = error.message.split(": ", 1)[-1].split(" does not load: ")[-1]
            continue
        row.without += [what for what in without(one, generator) if what not in row.without]
        row.tasks.append(task)
        if row.support:
            continue
        one, generator = fitting(one, generator)
        row.support, unsteady = compared(generator, one, task)
        row.support += interrupted(generator, one, task)
        row.schedulers = [name for name in one.schedulers if name not in unsteady]
    row.support = row.support or f"refused: {shortened(refusals[own_task(name)])}"
    return row


def own_task(name: str) -> str:
    """Return the task of a class, by the pictures that its call takes."""
    takes = inspect.signature(getattr(diffusers, name).__call__).parameters
    if "mask_image" in takes or "control_mask" in takes:
        return TASKS[2]
    follows = re.search("ControlNet|Adapter", name) and "strength" not in takes  # then `image` is the control picture
    return TASKS[1] if "image" in takes and not follows else TASKS[0]


def without(card: ModelCard, generator: Any) -> list[str]:
    """Return what has no effect with a pipeline: by its card, and by trying whether another guidance draws another
    picture.
    """
    every = card.model_copy(update={"tasks": TASKS})
    common = {"prompt": "a cat", "seed": 1, "task": card.tasks[0], "strength": DEFAULT_STRENGTH}
    changed: dict[str, dict[str, object]] = {"prompt": {"prompt": "a dog"}}
    if card.guidance.min < card.guidance.max:
        changed["guidance"] = {"guidance": 1.5}
    plain = generator.draw_alone(job_of(every, "", common).rows[0].task)
    pictures = {
        what: generator.draw_alone(job_of(every, "", common | more).rows[0].task) for what, more in changed.items()
    }
    same = [what for what, picture in pictures.items() if np.array_equal(picture, plain)]
    return same + ["negative prompts"] * (not card.takes_negative_prompts)


def fitting(card: ModelCard, generator: Any) -> tuple[ModelCard, Any]:
    """Return the card with all schedulers of diffusers that it may name, and its generator."""
    own = type(generator.pipeline.scheduler).__name__
    names = [name for name in sorted(dir(diffusers)) if name.endswith("Scheduler") and name != own]
    names = [name for name in names if _fits(generator.pipeline, card.model_copy(update={"schedulers": (name,)}))]
    while names:
        card = card.model_copy(update={"schedulers": tuple(names)})
        try:
            return card, load(card, Settings(device="cpu"))
        except CardError as error:
            refused = next((name for name in names if re.search(rf"\bscheduler '?{name}\b", error.message)), None)
            if refused is None:
                raise
            names.remove(refused)
    return card.model_copy(update={"schedulers": ()}), generator


def _fits(pipeline: Any, card: ModelCard) -> bool:
    """Return whether the checks before any drawing accept a card's schedulers."""
    try:
        pipeline_checks.check(pipeline, card)
    except ValueError:
        return False
    return True


def compared(generator: Any, card: ModelCard, task: str) -> tuple[str, set[str]]:
    """Return how images are joined, or which pictures are wrong; and the schedulers that prove nothing."""
    common = {"task": task, "strength": DEFAULT_STRENGTH}
    steps = [int(min(max(number, card.steps.min), card.steps.max)) for number in (2, 3, 4)]
    asked: list[dict[str, Any]] = [
        {"prompt": prompt, "steps": steps[seed], "seed": seed} | common
        for seed, prompt in enumerate(("a cat", "a dog"))
    ]
    # Another shape and other guidance, which join no batch or share one with other numbers.
    width, height = card.sizes[-1]
    asked[1] |= {"negative_prompt": "blue"} if card.takes_negative_prompts else {}
    asked[1] |= {"guidance": 2.5} if card.guidance.min < card.guidance.max else {}
    if card.control is not None:
        asked[1] |= {"control_end": 0.5} if card.control.interval else {}
        asked[1] |= {"control_scale": 0.5} if card.control.scale.min < 1 else {}
    asked.append({"prompt": "a hen", "steps": steps[1], "seed": 4, "width": width, "height": height} | common)
    asked += [
        {"prompt": "a fish", "steps": steps[2], "seed": 3, "scheduler": name} | common for name in card.schedulers
    ]
    every = card.model_copy(update={"tasks": TASKS})
    jobs = [job_of(every, str(number), request) for number, request in enumerate(asked)]
    errors = run(generator, jobs)
    wrong = {job.id for job in jobs if job.id in errors or not equal(card, job)}
    named = {job.id: asked[int(job.id)].get("scheduler", "own scheduler") for job in jobs if job.id in wrong}
    unsteady = {named[job.id] for job in jobs if job.id in wrong and job.claim.spec.scheduler and not steady(card, job)}
    if names := sorted(set(named.values()) - unsteady):
        why = " ".join({str(error) for job, error in errors.items() if named[job] in names})
        return f"**wrong** ({', '.join(names)}) {why}", unsteady
    joined = max(jobs[0].rows[0].task.buckets) > 1
    apart = ", ".join(sorted(generator.unbatched_calls)) or ("" if joined else "its denoiser")
    return (f"per image: {apart}" if apart else "batched"), unsteady


def steady(card: ModelCard, job: JobRun) -> bool:
    """Return whether a picture does not depend on rounding, as that of a tiny random pipeline may: see HEAD."""
    picture = reference(card, job)
    others = [reference(card, job, disturbed=seed) for seed in range(3)]
    return all(np.abs(other - picture).max() * 255 <= 0.5 for other in others)  # not if one of them is not finite


def interrupted(generator: Any, card: ModelCard, task: str) -> str:
    """Return after which steps a picture that another worker continues becomes another one; empty if after none."""
    request = {"prompt": "a cat", "seed": 1, "task": task, "strength": DEFAULT_STRENGTH}
    request["steps"] = int(min(max(6, card.steps.min), card.steps.max))
    wrong = ", ".join(wrong_steps(generator, card.model_copy(update={"tasks": TASKS}), request))
    return f" **wrong when resumed** after {wrong}" if wrong else ""


def equal(card: ModelCard, job: JobRun) -> bool:
    """Return whether a job's picture is the one that the pipeline draws alone."""
    found = job.rows[0].picture
    return found is not None and np.abs(found - reference(card, job) * 255).max() <= 1


def shortened(reason: str) -> str:
    """Return the first sentence of a reason, as a table can hold it."""
    line = " ".join(reason.split())
    return line.replace("|", "/")[:300]


def support_of(name: str) -> Row:
    """Return the line of a class."""
    needs = getattr(getattr(diffusers, name), "_backends", None)
    if needs is not None:
        missing = ", ".join(each for each in needs if each not in ("torch", "transformers"))
        return Row(f"refused: it needs the package {missing}, which is not installed")
    needed = NEEDS.get(name)
    if needed is not None and find_spec(needed) is None:
        return Row(f"not built here: it needs the package {needed}, which is not installed")
    if name not in BUILDERS or name in NOT_BUILT:
        return Row(f"not built here: {NOT_BUILT.get(name, 'no tiny pipeline yet')}")
    with tempfile.TemporaryDirectory() as folder:
        try:
            row = outcome(name, Path(folder))
        except Exception as error:  # noqa: BLE001 - one class must not end the others
            return Row(f"**error**: {type(error).__name__}: {shortened(str(error))}")
    row.support += f" (needs {needed})" if needed is not None else ""
    return row


def main() -> int:
    """Write the table; return 1 if a pipeline draws other pictures in a batch than alone."""
    diffusers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()
    named = sys.argv[1:]
    lines: dict[str, str] = dict(LINE.findall(TABLE.read_text())) if named else {}
    wrong = False
    for name in named or list(classes()):
        row = support_of(name)
        wrong = wrong or row.wrong
        lines[name] = line(row)
        sys.stderr.write(f"{name}: {row.support} {row.tasks} {len(row.schedulers)} schedulers\n")
        if named:
            TABLE.write_text(table(lines))
    TABLE.write_text(table(lines))
    return int(wrong)


def line(row: Row) -> str:
    """Return a line of the table, after the name of its class."""
    schedulers = len(row.schedulers) + 1 if row.tasks else ""
    return f"{row.support} | {', '.join(row.tasks)} | {schedulers} | {', '.join(row.without)} |"


def table(lines: dict[str, str]) -> str:
    """Return the page with these lines, by the names of their classes."""
    found = [re.split("[:|(]", line)[0].strip() for line in lines.values()]
    counts = ", ".join(f"{found.count(kind)} {kind}" for kind in ("batched", "per image", "refused", "not built here"))
    rows = "".join(f"| {name} | {line}\n" for name, line in sorted(lines.items()))
    return HEAD.format(version=diffusers.__version__, summary=f"Of {len(lines)} classes: {counts}.") + rows


if __name__ == "__main__":
    sys.exit(main())
