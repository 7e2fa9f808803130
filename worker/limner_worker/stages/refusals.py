"""Checks of a job before its model sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from limner_shared.db.ledger import Claim
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.prompt_weights import follows_weights
from limner_shared.errors import GenerationFailed, LimnerError, RequestUnsupported
from limner_shared.telemetry import get_logger

log = get_logger(__name__)


def first_refusal(claim: Claim, *checks: Callable[[Claim], LimnerError | None]) -> LimnerError | None:
    """The first error that a check of a job returns, or None. A check that raises, for what is stored of the job or its
    tenant, refuses this job alone.
    """
    for check in checks:
        try:
            error = check(claim)
        except Exception:
            log.exception("could not check a job", job=claim.id)
            return GenerationFailed()
        if error is not None:
            return error
    return None


class CardChanges:
    """Finds jobs that were accepted by a card that has changed, of which this worker's card would ignore a part."""

    def __init__(self, cards: Mapping[str, ModelCard]) -> None:
        self._cards = cards

    def refuse(self, claim: Claim) -> LimnerError | None:
        """The error of a job that the model cannot draw any more as it was asked for, or None."""
        card = self._cards.get(claim.spec.model)
        field = None if card is None else next(_no_longer_taken(card, claim.spec), None)
        if field is None:
            return None
        changed = f"the model card of {claim.spec.model} is not the one that this job was accepted by"
        return RequestUnsupported(f"{field}: {changed}: send the request again.")


def _no_longer_taken(card: ModelCard, spec: JobSpec) -> Iterator[str]:
    """Yield the fields of a job that the card does not take, or without which it takes none."""
    if spec.task not in card.tasks:
        yield "mask" if spec.mask is not None else "image"
    if (spec.control_image is None) != (card.control is None):
        yield "control_image"
    if len(spec.reference_images or ()) > (0 if card.reference is None else card.reference.most):
        yield "reference_images"
    if spec.scheduler is not None and spec.scheduler not in card.schedulers:
        yield "scheduler"
    if card.adapter_folder is None and any(each.name not in card.adapters for each in spec.adapters):
        yield "adapters"
    if spec.negative_prompt and not card.takes_negative_prompts:
        yield "negative_prompt"
    if follows_weights(spec) and not (spec.plain_words or card.prompt_weights):
        yield "prompt"
    if card.guidance.min == card.guidance.max != spec.guidance:
        yield "guidance"
