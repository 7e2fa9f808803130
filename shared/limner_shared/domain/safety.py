"""What is done about texts and pictures that are not wanted: policies, a tenant's choices, labels. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, Field, TypeAdapter

from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.prompt_weights import plain

SOURCE_TYPE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for media made by a generative model."""
SAFETY: Final = "safety"
"""In a receipt, the label of the safety stage; absent where it is off."""
SIGNED: Final = "c2pa"
"""In a receipt, what was signed: `unsigned_sha256` is the digest of the file without its manifest."""


class SafetyPolicy(StrEnum):
    """What the safety stage does with a flagged picture."""

    OFF = "off"
    LABEL = "label"
    BLOCK = "block"


class SafetyLabel(BaseModel):
    """What the safety stage found in a picture."""

    flagged: bool = Field(description="Whether the score reached the operator's threshold.")
    nsfw: float | None = Field(description="The classifier's score, 0 to 1; null if no classifier judged the picture.")
    classifier: str | None = Field(description="The classifier's name and version.")


TERMS: Final = TypeAdapter(tuple[str, ...])


@dataclass(frozen=True, slots=True)
class TenantPolicy:
    """What a tenant has of its own; None is the operator's choice."""

    safety: SafetyPolicy | None = None
    blocked_terms: tuple[str, ...] = ()
    sign_pictures: bool | None = None

    @classmethod
    def of_columns(cls, safety: str | None, terms: object, sign_pictures: bool | None) -> TenantPolicy:
        """The policy that a tenant's row holds. Raises ValueError for a damaged one."""
        own = TERMS.validate_python([] if terms is None else terms)
        return cls(None if safety is None else SafetyPolicy(safety), own, sign_pictures)


NO_POLICY: Final = TenantPolicy()


def policy_of(tenant: TenantPolicy, card: SafetyPolicy | None, default: SafetyPolicy) -> SafetyPolicy:
    """The policy of a job: the tenant's, else the model card's, else the service's."""
    return tenant.safety or card or default


def texts_of(spec: JobSpec) -> Iterator[str]:
    """The texts of a job that say what to draw, also without the weights of their words, which may stand within words.
    What a negative prompt names is to be left out, so it is not one.
    """
    for text in _written(spec):
        yield text
        if (words := plain(text)) != text:
            yield words


def _written(spec: JobSpec) -> Iterator[str]:
    yield spec.prompt
    if spec.description is not None:
        yield spec.description
    for turn in spec.history:
        yield turn.text
        if turn.conditions is not None:
            yield turn.conditions.prompt
