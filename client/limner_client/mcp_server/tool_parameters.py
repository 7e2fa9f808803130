"""The parameters that several tools of agents have, each with its limits and its description for the agent."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

MAX_WAIT_SECONDS: Final = 30
"""The longest wait of one call: hosts of agents end calls that take much longer, often after a minute."""


def _as_text(value: object) -> object:
    """Convert null, which some agents send for an omitted argument, to an empty text."""
    return "" if value is None else value


def _as_list(value: object) -> object:
    """Convert null to an empty list, and one text, which some agents send, to a list of it."""
    if value is None or value == "":
        return ()
    return (value,) if isinstance(value, str) else value


# Optional texts are `str`, not `str | None`: the MCP package reads a text of any other type as JSON if it can, so that
# a model called `null` would be none, and a prompt in brackets a list.
Text = Annotated[str, BeforeValidator(_as_text)]
Prompt = Annotated[str, Field(description="What the picture shows, in English unless list_models says otherwise.")]
Model = Annotated[Text, Field(description="A name from list_models. Default: the service's default model.")]
Style = Annotated[Text, Field(description="One of the model's styles.")]
Size = Annotated[
    Text, Field(pattern=r"^([0-9]{1,5}x[0-9]{1,5})?$", description="One of the model's sizes, such as 256x256.")
]
Count = Annotated[int, Field(ge=1, description="How many pictures.")]
Seed = Annotated[int | None, Field(ge=0, description="For the same picture again. Default: random.")]
Steps = Annotated[int | None, Field(ge=1, description="More is slower and often finer.")]
Guidance = Annotated[float | None, Field(description="How strictly the prompt is followed.")]
Quality = Annotated[
    Literal["", "best"], Field(description="best: draw several for each picture and keep the best; costs more.")
]
NegativePrompt = Annotated[Text, Field(description="What to leave out. Only if the model takes one.")]
Wait = Annotated[
    int,
    Field(ge=0, le=MAX_WAIT_SECONDS, description="How long to wait for the pictures. Afterwards, call get_job."),
]
ControlImage = Annotated[
    Text, Field(description="What the picture follows, such as edges: the id of a picture, or a data: URL.")
]
ControlScale = Annotated[float | None, Field(description="How strictly control_image is followed.")]
References = Annotated[
    tuple[str, ...],
    BeforeValidator(_as_list),
    Field(description="What the picture takes its subject or style from, if the model can: as control_image, several."),
]
MaskPadding = Annotated[
    int | None,
    Field(ge=0, description="Draw only the mask and this many pixels around it, in full size: for small details."),
]
ReferenceScale = Annotated[float | None, Field(description="How much is taken from reference_images.")]
