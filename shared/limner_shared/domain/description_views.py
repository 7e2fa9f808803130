"""What the API answers about a description that is not drawn yet."""

from __future__ import annotations

from pydantic import BaseModel, Field

from limner_shared.domain.conditions import Beyond, Interpretation
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.scenes import Scene


class UnderstoodRequest(BaseModel):
    """The request that draws what was understood: send it to `POST /jobs`, changed as you like."""

    prompt: str
    negative_prompt: str
    model: str
    style: str | None = Field(description="Null where none was asked for and the seed chooses it.")
    width: int
    height: int
    n: int
    seed: int | None = Field(description="Null unless a seed was asked for: then it is random.")


class UnderstoodView(BaseModel):
    """What a description was understood as."""

    request: UnderstoodRequest
    language: str = Field(description="The code of the language of the description, such as `de`.")
    interpretation: Interpretation
    dropped_negative: str = Field(description="What was to be left out, where the model cannot leave things out.")
    beyond: Beyond | None = Field(description="What was asked for beyond the model's limits.")
    drawn_as: str | None = Field(
        default=None, description="The known name that would be drawn in place of the prompt, if it is not all of it."
    )
    scene: Scene | None = Field(default=None, description="The parts of the picture, if it is not drawn as a whole.")


def understood(
    spec: JobSpec, interpretation: Interpretation, language: str, drawn_as: str | None, scene: Scene | None
) -> UnderstoodView:
    """The view of a spec into which the interpretation of its description was fitted."""
    names_seed = "seed" in spec.given or interpretation.conditions.seed is not None
    request = UnderstoodRequest(
        prompt=spec.prompt,
        negative_prompt=spec.negative_prompt,
        model=spec.model,
        style=spec.style,
        width=spec.width,
        height=spec.height,
        n=spec.n,
        seed=spec.seed if names_seed else None,
    )
    return UnderstoodView(
        request=request,
        language=language,
        interpretation=interpretation,
        dropped_negative=spec.dropped_negative,
        beyond=spec.beyond,
        drawn_as=drawn_as,
        scene=scene,
    )
