"""Checks at load: a pipeline whose requests would fail or give wrong results is refused with the reason; and what the
methods of a scheduler take.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final, cast

import torch
from diffusers.guiders.guider_utils import BaseGuidance
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_flow_match_heun_discrete import FlowMatchHeunDiscreteScheduler
from diffusers.schedulers.scheduling_flow_match_lcm import FlowMatchLCMScheduler
from diffusers.schedulers.scheduling_lcm import LCMScheduler
from diffusers.schedulers.scheduling_sasolver import SASolverScheduler
from diffusers.schedulers.scheduling_tcd import TCDScheduler
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers

from limner_shared.domain.card_fields import Range
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.unsupported import ranges_of
from limner_worker.generators.diffusers.output_pictures import CHECKER
from limner_worker.generators.diffusers.picture_arguments import check_control
from limner_worker.generators.diffusers.scheduler_trials import tried_once

FLOWS: Final = (FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler, FlowMatchLCMScheduler)
DIFFUSIONS: Final = (LCMScheduler, TCDScheduler, SASolverScheduler)
"""Schedulers that are interchangeable but do not list each other as compatible: those of flow matching, and, beside
those that diffusers lists, those for LoRAs that reduce the number of steps."""
OF_BUILT_IN: Final = ("codec", "nearest_name", "preview", "scenes", "styles", "styles_by_seed", "text_encoder")
"""Fields of cards of the built-in families, of which a request may name a style."""
NEEDED: Final = {
    "gligen_boxes": "it puts phrases into boxes, which requests cannot give: load the weights with "
    "StableDiffusionPipeline, or give gligen_phrases and gligen_boxes for all requests in options.arguments",
    "image_latents": "it edits after a mask and latents that its other methods make: load the weights with "
    "StableDiffusionInpaintPipeline",
    "source_embeds": "it edits from one text's embeddings to another's, which requests cannot give: load the weights "
    "with StableDiffusionImg2ImgPipeline",
}
"""Arguments of calls without which a pipeline draws nothing, although they have a default; why a card is refused."""
COPIED: Final = (
    "the pipeline copies its scheduler for parts of a picture, so its steps cannot be counted or joined with those of "
    "other pictures: load the weights with StableDiffusionPipeline"
)
PARALLEL: Final = "batch_step_no_noise"
"""The method of schedulers that make several steps of a picture at once."""
NEEDED_LIBRARY: Final = re.compile(r"requires the ([\w-]+) library but it was not found")
"""What diffusers says of a pipeline whose class it leaves out."""
OTHER_SHAPES: Final = "You set `ignore_mismatched_sizes` to `False`"
"""How transformers begins its error over weights that do not fit a module, which it names only in a report."""
OF_THE_EXTRA: Final = ("ftfy", "sentencepiece", "torchvision")
"""The packages of the extra `pipelines`."""
TRIAL_STEPS: Final = 3
MOST_TRIED: Final = 200
"""The largest difference of a card's limits of which each number of steps is tried; each takes up to a millisecond."""
FEW: Final = range(1, 9)
"""Steps that are tried to say what a scheduler takes instead."""


def check(pipeline: Any, card: ModelCard) -> None:
    """Raise ValueError with the reason if the card's requests would fail or give wrong results."""
    if ignored := [field for field in OF_BUILT_IN if getattr(card, field)]:
        raise ValueError(f"pipelines of diffusers have no {', '.join(ignored)}: leave them out of the card")
    for name, value in pipeline.components.items():
        if isinstance(value, BaseGuidance) and type(value).prepare_models is not BaseGuidance.prepare_models:
            raise ValueError(f"the {name} {type(value).__name__} changes the denoiser's layers, which images share")
    if getattr(pipeline, "scheduler", None) is None:
        raise ValueError(
            "it has no scheduler, or several: it is a stage of another pipeline, or draws in stages of its own"
        )
    check_control(pipeline, card)
    if not card.safety_checker and not hasattr(pipeline, CHECKER):
        raise ValueError(f"{type(pipeline).__name__} has no safety checker: remove safety_checker from the card")
    _check_call(pipeline, card)
    processor = getattr(getattr(pipeline, "image_processor", None), "config", None)
    factor = int(getattr(processor, "vae_scale_factor", None) or getattr(pipeline, "vae_scale_factor", 1))
    wrong = [f"{width}x{height}" for width, height in card.sizes if width % factor or height % factor]
    if wrong:
        raise ValueError(f"sizes: {', '.join(wrong)}: this pipeline draws multiples of {factor} pixels only")
    config = pipeline.scheduler.config
    _check_scheduler(type(pipeline.scheduler), config, (card.steps.min, card.steps.max))
    for cls in schedulers(pipeline, card).values():
        _check_scheduler(cls, config, (card.steps.default,))


def _check_call(pipeline: Any, card: ModelCard) -> None:
    parameters = inspect.signature(pipeline.__call__).parameters
    for name, reason in NEEDED.items():
        if name in parameters and name not in card.options.get("arguments", {}):
            raise ValueError(reason)
    if "parallel" in parameters and not hasattr(pipeline.scheduler, PARALLEL):
        raise ValueError(
            "it makes several steps of a picture at once, which its scheduler cannot: name DDIMParallelScheduler in "
            "scheduler_config.json, or load the weights with StableDiffusionPipeline"
        )


def schedulers(pipeline: Any, card: ModelCard) -> dict[str, Any]:
    """Return the classes of the card's `schedulers`. Raises ValueError, with those that fit, for one that does not."""
    own: Any = pipeline.scheduler.__class__
    more = FLOWS if own in FLOWS else DIFFUSIONS if own.__name__ in _diffusions() else ()
    fit = {cls.__name__: cls for cls in (own, *pipeline.scheduler.compatibles, *more)}
    for name in card.schedulers:
        if name not in fit:
            raise ValueError(f"the scheduler {name!r} does not fit; those that do: {', '.join(sorted(fit))}")
    return {name: fit[name] for name in card.schedulers}


def explain(error: BaseException) -> str:
    """Return a library's error message, or which package to install if a missing one is the cause."""
    if isinstance(error, NameError) and error.name and error.name.isidentifier() and find_spec(error.name) is None:
        return _needs(error.name if error.name.islower() else "torchvision", error)  # a class that it would provide
    # transformers stands a placeholder in for a class that needs torchvision
    if find_spec("torchvision") is None and any(part in str(error) for part in ("orchvision", "<locals>.Placeholder")):
        return _needs("torchvision", error)
    if (found := NEEDED_LIBRARY.search(str(error))) and isinstance(error, ImportError):
        return _needs(found[1].lower(), error)
    if str(error).startswith(OTHER_SHAPES):
        return "the weights of a part have other shapes than its config.json says: copy or download both again"
    is_reason = str(error) and not isinstance(error, KeyError)  # that one is a name only
    return str(error) if is_reason else f"{type(error).__name__}: {error}".removesuffix(": ")


def _needs(package: str, error: BaseException) -> str:
    advice = ": pip install 'limner[pipelines]'" if package in OF_THE_EXTRA else ""
    return f"it needs the package {package}, which is not installed{advice} ({_first_line(error)})"


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _diffusions() -> set[str]:
    return {each.name for each in KarrasDiffusionSchedulers} | {cls.__name__ for cls in DIFFUSIONS}


def _check_scheduler(cls: Any, config: Any, all_steps: Sequence[float]) -> None:
    for steps in all_steps:
        try:
            set_steps(cls.from_config(config), int(steps))
        except ImportError as error:
            raise ValueError(f"the scheduler {cls.__name__} needs a package: {_first_line(error)}") from error
        except Exception as error:
            only = [few for few in FEW if _takes(cls, config, few)]
            if len(only) == 1:
                one = f"the scheduler {cls.__name__} takes {only[0]} steps only"
                raise ValueError(f"{one}: set min, max and default of steps to {only[0]}") from error
            if only and steps < only[0]:
                least = f"the scheduler {cls.__name__} takes {only[0]} steps or more"
                raise ValueError(f"{least}: set min of steps to {only[0]}") from error
            raise ValueError(f"the scheduler {cls.__name__} refuses {steps:g} steps: {error}") from error
    try:
        same = torch.equal(_trial(cls, config, 0), _trial(cls, config, 1))
    except Exception:  # noqa: BLE001 - it may need arguments that are not given here, which proves nothing against it
        return
    if not same:
        raise ValueError(f"the scheduler {cls.__name__} draws noise that the seed does not determine")


def _takes(cls: Any, config: Any, steps: int) -> bool:
    try:
        set_steps(cls.from_config(config), steps)
    except Exception:  # noqa: BLE001 - a scheduler may raise anything for a number that it does not take
        return False
    return True


@tried_once
def refused_steps(scheduler: Any, limits: Range) -> tuple[tuple[int, int], ...]:
    """Return the numbers of steps within a card's limits that a scheduler refuses, as ranges; none of long ranges."""
    first, last = int(limits.min), int(limits.max)
    if last - first > MOST_TRIED:
        return ()
    kind: Any = scheduler.__class__
    return ranges_of(steps for steps in range(first, last + 1) if not _takes(kind, scheduler.config, steps))


def set_steps(scheduler: Any, steps: int) -> None:
    """Set a scheduler's number of steps, as a pipeline does for a picture of medium size."""
    takes = inspect.signature(scheduler.set_timesteps).parameters
    shifts = "mu" in takes and getattr(scheduler.config, "use_dynamic_shifting", False)
    scheduler.set_timesteps(steps, **({"mu": 1.0} if shifts else {}))


def _trial(cls: Any, config: Any, stray_seed: int) -> torch.Tensor:
    """Return the result of a few steps with a seeded generator, after seeding torch's global one with `stray_seed`."""
    generator = torch.Generator().manual_seed(0)
    with cast("Any", torch.random).fork_rng(devices=[]):
        torch.default_generator.manual_seed(stray_seed)
        scheduler: Any = cls.from_config(config)
        set_steps(scheduler, TRIAL_STEPS)
        given = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
        sample = torch.ones(1, 4, 2, 2)
        for time in scheduler.timesteps:
            scaled = scheduler.scale_model_input(sample, time) if hasattr(scheduler, "scale_model_input") else sample
            sample = scheduler.step(0.1 * scaled, time, sample, return_dict=False, **given)[0]
    return sample.nan_to_num()


@functools.cache
def signature_of(scheduler: type[Any], method: str) -> inspect.Signature:
    """The signature of a scheduler's method as its users see it, without `self`."""
    signature = inspect.signature(getattr(scheduler, method))
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def takes_generator(scheduler: type[Any]) -> bool:
    """Whether the scheduler's step takes a random generator."""
    return "generator" in signature_of(scheduler, "step").parameters
