"""Model cards: the files that describe the models and their limits."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from limner_shared.domain import request_limits
from limner_shared.domain.card_fields import (
    NOT_REFINED,
    OF_PIPELINES,
    UNCHANGING,
    BatchSize,
    Control,
    QualitySteps,
    Range,
    Reference,
    Refiner,
    Side,
    Source,
    StepRange,
)
from limner_shared.domain.conditions import Conditions, cut, exceeded_limits
from limner_shared.domain.inputs import Task
from limner_shared.domain.jobs import MAX_SEED, JobRequest, JobSpec
from limner_shared.domain.prompt_weights import WEIGHTS_FROM, has_weights, plain
from limner_shared.domain.safety import SafetyPolicy
from limner_shared.domain.scenes import NearestName, SceneRule
from limner_shared.errors import InvalidRequest

MULTIPLE: Final = 8
"""Pixels along one side of a latent cell of diffusers' pipelines."""

SOURCE_FIELDS: Final = ("source", "text_encoder", "codec", "preview")
"""The fields of a card that are sources themselves; adapters have others."""


class ModelCard(BaseModel):
    """One model: its weights, how it runs, and what a request may ask of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    title: str
    description: str = ""
    licence: str = ""
    family: Literal["latent-flow", "one-step", "diffusers", "null"]
    source: Source
    text_encoder: Source | None = Field(default=None, description="Built-in families only: the folder of a text head.")
    codec: Source | None = Field(default=None, description="Built-in families only: autoencoder and upscaler.")
    nearest_name: NearestName | None = Field(
        default=None,
        description="Built-in families only: draw a prompt as the nearest name that the model was trained with.",
    )
    scenes: SceneRule | None = Field(
        default=None, description="Of latent-flow: draw the things of a prompt one by one and put them together."
    )
    preview: Source | None = Field(default=None, description="Of latent-flow: a one-step model for the first previews.")
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str | None = Field(None, pattern=r"^(cpu|mps|cuda(:[0-9]+)?)$", description="Default: the worker's own.")
    sizes: tuple[tuple[Side, Side], ...] = Field(min_length=1, description="(width, height); the first is the default.")
    styles: tuple[str, ...] = ()
    styles_by_seed: tuple[str, ...] = Field(
        default=(), description="Styles of which each picture's seed chooses one where a request names none."
    )
    steps: StepRange
    guidance: Range
    quality: QualitySteps = Field(default=QualitySteps(), description="Steps of the qualities of OpenAI's API.")
    sha256: dict[str, str] = Field(default_factory=dict, description="Expected hashes of weight files, by file name.")
    tasks: tuple[Task, ...] = Field(default=("text-to-image",), min_length=1)
    control: Control | None = Field(default=None, description="Of diffusers: how its control network may be used.")
    reference: Reference | None = Field(default=None, description="Of diffusers: reference pictures.")
    refiner: Refiner | None = Field(default=None, description="Of SDXL: a refiner for the last steps.")
    schedulers: tuple[str, ...] = Field(
        default=(), description="Schedulers that a request may choose instead of the model's own."
    )
    adapters: dict[str, Source] = Field(default_factory=dict, description="LoRA adapters by name.")
    adapter_folder: Path | None = Field(
        default=None, description="A folder whose safetensors files are LoRA adapters too, loaded when they are named."
    )
    text_batch: BatchSize = Field(default=4, description="Texts are always encoded in batches of this size.")
    offload: Literal["none", "model", "sequential"] = "none"
    device_map: Literal["balanced"] | None = Field(
        default=None, description="Of diffusers: distribute a pipeline over several GPUs of a machine."
    )
    vae_tiling: bool = Field(
        default=False,
        description="Of diffusers: decode and encode large pictures in overlapping tiles, to save memory.",
    )
    compile: bool = Field(default=False, description="Compile the denoiser with torch.compile.")
    cuda_graphs: bool = Field(
        default=False,
        description="Compile the denoiser, and replay its kernels as one CUDA graph for each batch size. Not proved: "
        "it failed on the GPUs on which it ran, so draw a picture before you rely on it.",
    )
    safety_checker: bool = Field(
        default=True,
        description="Of diffusers: whether the pipeline's own safety checker judges its pictures.",
    )
    safety: SafetyPolicy | None = Field(default=None, description="What is done about flagged pictures.")
    negative_prompts: bool = Field(default=True, description="Whether the model can leave out what a request names.")
    prompt_weights: bool = Field(default=False, description="Of diffusers: weigh the words of `(word:1.3)` in prompts.")
    max_images: int = Field(default=4, ge=1)
    candidates: int = Field(
        default=1, ge=1, le=16, description="How many are drawn for a picture of quality best; 1: no such quality."
    )
    max_retries: Range = Field(
        default=Range(min=0, max=20, default=5), description="Retries of a job after an error that may pass."
    )
    max_prompt_chars: int = Field(default=1000, ge=1)
    options: dict[str, Any] = Field(default_factory=dict, description="Options specific to the family.")
    buckets: tuple[BatchSize, ...] = Field(
        default=(1, 2, 4, 8), min_length=1, description="Batch sizes a forward pass is padded to."
    )

    @model_validator(mode="after")
    def _drawable(self) -> ModelCard:
        wrong = [f"{w}x{h}" for w, h in self.sizes if self.family == "diffusers" and (w % MULTIPLE or h % MULTIPLE)]
        if wrong:
            raise ValueError(f"sizes: {', '.join(wrong)}: a pipeline of diffusers draws multiples of {MULTIPLE} pixels")
        if unknown := set(self.styles_by_seed) - set(self.styles):
            raise ValueError(f"styles_by_seed: {', '.join(sorted(unknown))}: not among the card's styles")
        if self.refiner is not None and (beside := NOT_REFINED & self.model_dump(exclude_defaults=True).keys()):
            raise ValueError(f"refiner: leave out {', '.join(sorted(beside))}, which a refiner does not follow")
        if self.adapter_folder is not None and (beside := UNCHANGING & self.model_dump(exclude_defaults=True).keys()):
            raise ValueError(f"adapter_folder: leave out {', '.join(sorted(beside))}: the layers change with adapters")
        if self.candidates > 1 and self.text_encoder is None:
            raise ValueError("candidates: only the built-in families have an evaluator that could choose")
        return self

    @model_validator(mode="after")
    def _of_its_family(self) -> ModelCard:
        is_pipeline, changed = self.family == "diffusers", self.model_dump(exclude_defaults=True)
        for field, what in OF_PIPELINES.items():
            if field in changed and not is_pipeline:
                raise ValueError(f"{field}: only pipelines of diffusers {what}")
        with_variants = (self.source, self.refiner and self.refiner.source) if is_pipeline else ()
        if any(each.variant and each not in with_variants for each in self.sources()):
            raise ValueError("variant: only pipelines of diffusers and their refiners have variants of their weights")
        return self

    def sources(self) -> tuple[Source, ...]:
        """Everything that a worker reads to load the model; the model itself is first."""
        named = [getattr(self, field) for field in SOURCE_FIELDS]
        beside = (self.reference and self.reference.adapter, self.refiner and self.refiner.source)
        return tuple(source for source in (*named, *self.adapters.values(), *beside) if source is not None)

    def tokens(self, width: int, height: int) -> int:
        """The cost of one step of one image, in squares of 64×64 pixels, for fairness and limits. The built-in
        families draw every size on one canvas, so all sizes cost the same as the default.
        """
        if self.family != "diffusers":
            width, height = self.sizes[0]
        return max(1, width * height // 4096)

    @property
    def same_at_every_size(self) -> bool:
        """Whether a seed gives the same picture in every size: the built-in families enlarge it by a network."""
        return self.family in ("latent-flow", "one-step")

    @property
    def default_cost(self) -> int:
        """Cost units of one image of the default size with the default number of steps."""
        return int(self.steps.default) * self.tokens(*self.sizes[0])

    @property
    def small_cost(self) -> int:
        """The largest cost of an interactive job: four images with the default settings."""
        return 4 * self.default_cost

    def cost(self, spec: JobSpec) -> int:
        """Cost units of a job: steps × tokens × images × candidates."""
        return spec.steps * self.tokens(spec.width, spec.height) * spec.n * spec.candidates

    @property
    def takes_negative_prompts(self) -> bool:
        """Whether negative prompts have an effect; without guidance they have none."""
        return self.negative_prompts and self.guidance.max > 1

    @property
    def takes_mask_crops(self) -> bool:
        """Whether `padding_mask_crop` may go with a mask, as far as the card says."""
        return self.family == "diffusers" and "inpainting" in self.tasks

    def resolve(self, request: JobRequest) -> JobSpec:
        """Fill in defaults and check every limit.

        Raises InvalidRequest with `field` and `allowed` in its details.
        """
        width, height = request_limits.find_size(request, self.sizes)
        steps = request_limits.within("steps", request.steps, self.steps)
        by_seed = self.styles_by_seed if request.style is None else ()
        prompt, negative = self._prompt(request), self._negative_prompt(request)
        weighted = has_weights(prompt, negative)
        drawn = request_limits.candidate_count(request, self.name, self.candidates)
        return JobSpec(
            version=request_limits.spec_version(request, drawn, weighted=weighted),
            prompt=prompt,
            negative_prompt=negative,
            model=self.name,
            style=None if by_seed else self._style(request.style),
            styles=by_seed,
            width=width,
            height=height,
            steps=int(steps),
            guidance=request_limits.within("guidance", request.guidance, self.guidance),
            seed=secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed,
            n=int(request_limits.within("n", request.n, Range(min=1, max=self.max_images, default=1))),
            candidates=drawn,
            guidance_rescale=request_limits.guidance_rescale(request, self.family),
            nearest_name=self.nearest_name,
            scenes=self.scenes,
            plain_words=weighted and not self.prompt_weights,
            scheduler=self._scheduler(request.scheduler),
            adapters=request_limits.requested_adapters(request.adapters, self.adapters, self.adapter_folder),
            **request_limits.requested_inputs(request, self.name, self.family, self.tasks, int(steps)),
            **request_limits.requested_control(request, self.name, self.control),
            **request_limits.requested_references(request, self.name, self.reference),
            reproducible=request.reproducible,
            provenance=request.provenance,
            description=request.description,
            given=self._given(request),
        )

    def fit(self, spec: JobSpec, conditions: Conditions) -> JobSpec:
        """Return the spec with the conditions that were derived from its description, as far as they are allowed.

        Values that the client chose are kept. A style or size that this model does not have is ignored, numbers and
        texts are cut to the limits.
        """
        changes: dict[str, Any] = {"prompt": cut(conditions.prompt.replace("\x00", " "), self.max_prompt_chars)}
        negative = cut(conditions.negative_prompt.replace("\x00", " "), self.max_prompt_chars)
        if not self.prompt_weights:
            changes["prompt"], negative = plain(changes["prompt"]), plain(negative)
        elif has_weights(changes["prompt"], negative):
            changes["version"] = max(spec.version, WEIGHTS_FROM)
        changes["negative_prompt" if self.takes_negative_prompts else "dropped_negative"] = negative
        if conditions.style in self.styles:
            changes["style"] = conditions.style
        if conditions.n is not None:
            changes["n"] = min(conditions.n, self.max_images)
        if conditions.seed is not None:
            changes["seed"] = conditions.seed
        if (conditions.width, conditions.height) in self.sizes and not {"width", "height"} & set(spec.given):
            changes |= {"width": conditions.width, "height": conditions.height}
        changes["beyond"] = exceeded_limits(conditions, self.max_images, self.sizes, self.max_prompt_chars, spec.given)
        return spec.model_copy(update={name: value for name, value in changes.items() if name not in spec.given})

    def _prompt(self, request: JobRequest) -> str:
        """The prompt, or the description, in case no better prompt is derived from it. Raises InvalidRequest."""
        if request.description is None:
            if request.prompt is None:
                raise InvalidRequest("prompt: it is missing. Say what the picture shows.", field="prompt")
            return self._text("prompt", request.prompt)
        if request.prompt is not None:
            raise request_limits.refuse("prompt", "a prompt beside a description", "one of prompt and description")
        return cut(request.description.replace("\x00", " "), self.max_prompt_chars)

    def _negative_prompt(self, request: JobRequest) -> str:
        if request.negative_prompt and not self.takes_negative_prompts:
            raise request_limits.negative_prompt_error(self.name, guided=self.guidance.max > 1)
        return self._text("negative_prompt", (request.negative_prompt or "").strip())

    def _given(self, request: JobRequest) -> tuple[str, ...]:
        if request.description is None:
            return ()
        names = ("negative_prompt", "style", "width", "height", "n", "seed")
        given = [name for name in names if name in request.model_fields_set and getattr(request, name) is not None]
        # An input picture is stored in the job's size, so its description no longer changes that.
        sized = request.size is not None or request.image is not None or request.control_image is not None
        return (*given, *(("width", "height") if sized else ()))

    def _text(self, field: str, value: str) -> str:
        if len(value) > self.max_prompt_chars:
            raise request_limits.refuse(
                field, f"{len(value)} characters", f"at most {self.max_prompt_chars} characters"
            )
        if "\x00" in value:
            raise request_limits.refuse(field, "a NUL character", "text without NUL characters")
        return value

    def _style(self, style: str | None) -> str | None:
        if style is None:
            return self.styles[0] if self.styles else None
        if style not in self.styles:
            raise request_limits.refuse("style", repr(style), list(self.styles) or "no style: this model has none")
        return style

    def _scheduler(self, scheduler: str | None) -> str | None:
        if scheduler is not None and scheduler not in self.schedulers:
            raise request_limits.refuse(
                "scheduler", repr(scheduler), list(self.schedulers) or "none: this model has only its own"
            )
        return scheduler
