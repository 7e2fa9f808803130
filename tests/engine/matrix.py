"""`make matrix`: support for every text-to-image pipeline of diffusers, written to docs/pipelines.md.

The classes are listed from the library, so those of a new version are included. Each class with a tiny random pipeline
here is loaded through a card, and a mixed batch is compared with `pipe(…)`.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, cast

import diffusers
import numpy as np
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from tests.engine import odd_pipelines, pipelines
from tests.engine.test_diffusers_pipeline import FAMILIES, job_of, reference, run

from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.generators.registry import load

TABLE: Final = Path("docs/pipelines.md")
BUILDERS: Final[tuple[Callable[[Path], Any], ...]] = (
    *pipelines.FAMILIES.values(),
    odd_pipelines.pag,
    odd_pipelines.kandinsky_22,
    odd_pipelines.hunyuan_image,
    odd_pipelines.flux_2,
    odd_pipelines.latent_diffusion,
    odd_pipelines.kandinsky_5,
    odd_pipelines.controlnet,
)
ARGUMENTS: Final[dict[str, dict[str, Any]]] = {
    "flux_2": {"max_sequence_length": 64, "text_encoder_out_layers": [1]},
} | {name: family.arguments for name, family in FAMILIES.items()}
SIZES: Final = {"kandinsky_5": [(1024, 1024)]}
HEAD: Final = """# Pipelines of diffusers

Made by `make matrix` with diffusers {version}. The library's text-to-image pipelines and their support:

- **batched**: a mixed batch of a tiny random pipeline gave the pictures that `pipe(…)` gives alone, within 1/255.
- **per image**: the same, with the denoiser or the named calls made for one image at a time.
- **refused**: a card of it is refused at load, with the reason given.
- **checked at load**: the tests have no tiny pipeline of it; like every pipeline, it is checked at load.

| pipeline | support |
|---|---|
"""


def text_to_image() -> Iterator[str]:
    """Yield the names of all pipelines that draw a picture from a text only."""
    for name in sorted(dir(diffusers)):
        cls = getattr(diffusers, name, None)
        if not (inspect.isclass(cls) and issubclass(cls, DiffusionPipeline)) or cls is DiffusionPipeline:
            continue
        takes = inspect.signature(cls.__call__).parameters
        needed = {
            key for key, each in takes.items() if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
        }
        other = [key for key in takes if key.startswith(("num_frames", "video", "audio"))]
        if "prompt" in takes and "height" in takes and not other and needed <= {"self", "prompt"}:
            yield name


def outcome(build: Callable[[Path], Any], folder: Path) -> tuple[str, str]:
    """Return the class of a pipeline and how it is supported."""
    name = build.__name__
    more = {"options": {"arguments": ARGUMENTS.get(name, {})}, "sizes": SIZES.get(name, [(32, 32), (64, 32)])}
    card = odd_pipelines.saved(build, folder, **more)
    cls = str(cast(Any, DiffusionPipeline.load_config(str(card.source.folder)))["_class_name"])
    try:
        generator: Any = load(card, Settings(device="cpu", cache_dir=folder / "cache"))
    except CardError as error:
        return cls, f"refused: {error.message.split(': ', 2)[-1].split(' does not load: ')[-1]}"
    joined = _joined(generator, card)
    if joined is None:
        return cls, "**wrong**"
    apart = ", ".join(sorted(generator.unbatched_calls)) or ("" if joined else "its denoiser")
    return cls, f"per image: {apart}" if apart else "batched"


def _joined(generator: Any, card: ModelCard) -> bool | None:
    """Return whether two images shared a denoiser call; None if a picture differs from the one drawn alone."""
    jobs = [
        job_of(card, prompt, {"prompt": prompt, "steps": 2 + seed, "seed": seed})
        for seed, prompt in enumerate(("a cat", "a dog"))
    ]
    if run(generator, jobs):
        return None
    for job in jobs:
        found = job.rows[0].picture
        if found is None or np.abs(found - reference(card, job) * 255).max() > 1:
            return None
    return jobs[0].rows[0].task.buckets[0] > 1


def main() -> int:
    """Write the table; return 1 if a pipeline draws other pictures in a batch than alone."""
    found: dict[str, str] = {}
    for build in BUILDERS:
        with tempfile.TemporaryDirectory() as folder:
            cls, what = outcome(build, Path(folder))
        found[cls] = what
        sys.stderr.write(f"{cls}: {what}\n")
    names = sorted({*text_to_image(), *found})
    rows = "".join(f"| {name} | {found.get(name, 'checked at load')} |\n" for name in names)
    TABLE.write_text(HEAD.format(version=diffusers.__version__) + rows)
    return int("**wrong**" in found.values())


if __name__ == "__main__":
    sys.exit(main())
