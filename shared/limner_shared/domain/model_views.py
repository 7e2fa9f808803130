"""What the API says of models: their limits, and how workers serve them, as far as their reports say."""

from __future__ import annotations

from pydantic import BaseModel, Field

from limner_shared.domain.picture_views import ControlView, ReferenceView
from limner_shared.domain.views import PauseNotice


class ServingView(BaseModel):
    """How the running workers serve a model."""

    workers: int = Field(description="How many have loaded it.")
    per_image: list[str] = Field(
        default=[], description="The calls of its pipeline that are made for one image at a time, if any."
    )
    left_out: str | None = Field(
        default=None, description="If workers run and none has loaded it: the error's code. Their logs have the reason."
    )


class ModelView(BaseModel):
    """A model and its limits."""

    name: str
    title: str
    description: str
    licence: str
    default: bool
    tasks: list[str] = Field(default=["text-to-image"], description="It draws from text, from a picture, in a mask.")
    sizes: list[str]
    same_at_every_size: bool = Field(default=False, description="Whether a seed gives the same picture in every size.")
    styles: list[str]
    styles_by_seed: list[str] = Field(default=[], description="Without a `style`, each picture's seed chooses one.")
    steps: dict[str, float]
    guidance: dict[str, float]
    max_images: int
    default_cost: int | None = Field(default=None, description="Cost units of one image with the default settings.")
    candidates: int = Field(
        default=1, description="How many are drawn for each picture of quality `best`; 1: it has no such quality."
    )
    max_prompt_chars: int
    negative_prompts: bool = Field(default=True, description="Whether it takes a `negative_prompt`.")
    prompt_weights: bool = Field(default=False, description="Whether `(word:1.3)` in a prompt weighs words.")
    mask_crops: bool = Field(default=False, description="Whether it takes `padding_mask_crop` with a mask.")
    max_retries: dict[str, float] = Field(default_factory=dict[str, float], description="Limits of `max_retries`.")
    control: ControlView | None = Field(default=None, description="If it follows a control picture, how.")
    reference: ReferenceView | None = Field(default=None, description="If it takes reference pictures, how.")
    schedulers: list[str] = Field(default=[], description="What `scheduler` may name instead of the model's own.")
    adapters: list[str] = Field(default=[], description="The LoRA adapters that `adapters` may name.")
    paused: PauseNotice | None = Field(default=None, description="While it is paused: its jobs wait.")
    serving: ServingView | None = Field(default=None, description="How workers serve it; null while none says so.")


class ModelList(BaseModel):
    """The models of this service."""

    items: list[ModelView]
