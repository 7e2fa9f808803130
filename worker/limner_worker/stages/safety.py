"""The safety stage: judges decoded pictures before they become files, beside the device's work.

A picture that is blocked is never encoded, stored or previewed. Texts are judged again before a job is drawn: the
rules may have changed since it was accepted, and a language model may have written its prompt.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from limner_shared import metrics
from limner_shared.db.ledger import Claim
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.safety import SAFETY, SafetyLabel, SafetyPolicy, policy_of, texts_of
from limner_shared.domain.text_rules import load_rules, rules_of_terms
from limner_shared.errors import ClassifierUnavailable, ConfigurationError, ModerationBlocked, SafetyUnavailable
from limner_shared.picture_classifier import PictureClassifier
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger
from limner_worker.generators.base import Picture

log = get_logger(__name__)

CATEGORY: Final = "sexual"
"""The category of pictures that the classifier flags."""
RELOAD_SECONDS: Final = 60.0
"""How long after the classifier could not be loaded it is tried again."""


class SafetyStage:
    """Decides about texts and pictures of jobs. Safe for several threads."""

    def __init__(self, settings: Settings, cards: Mapping[str, ModelCard]) -> None:
        """Load the classifier if the settings or a card need it.

        Raises ConfigurationError if it cannot be loaded, unless `safety_failure` is open.
        """
        self._threshold = settings.safety_threshold
        self._closed = settings.safety_failure == "closed"
        self._default = SafetyPolicy(settings.safety)
        self._cards = cards
        self._rules = load_rules(settings.moderation_rules)
        self._lock = threading.Lock()
        self._classifier: PictureClassifier | None = None
        self._failure: ConfigurationError | None = None
        self._next_load = 0.0
        policies = {card.safety or self._default for card in cards.values()}
        if policies - {SafetyPolicy.OFF} and self._load() is None and self._closed and self._failure is not None:
            raise self._failure

    def policy(self, claim: Claim) -> SafetyPolicy:
        """The policy of a job."""
        card = self._cards.get(claim.spec.model)
        return policy_of(claim.tenant, None if card is None else card.safety, self._default)

    def outage(self, claim: Claim) -> ClassifierUnavailable | None:
        """The error of a job whose pictures must be judged while the classifier cannot be loaded; otherwise None."""
        left = self._next_load - time.monotonic()
        if left <= 0 or self._classifier is not None or not self._closed or self.policy(claim) is SafetyPolicy.OFF:
            return None
        return ClassifierUnavailable(retry_after=round(left, 1))

    def may_preview(self, claim: Claim) -> bool:
        """Whether clients may see rough pictures of a running job: not of one whose pictures may be blocked."""
        return self.policy(claim) is not SafetyPolicy.BLOCK

    def refuse_text(self, claim: Claim) -> ModerationBlocked | None:
        """The error for a job whose text is not allowed, or None."""
        texts = list(texts_of(claim.spec))
        found = {*self._rules.categories(texts), *rules_of_terms(claim.tenant.blocked_terms).categories(texts)}
        if not found:
            return None
        metrics.MODERATED.inc(what="text", result="blocked")
        log.warning("text blocked", job=claim.id, tenant=claim.tenant_id, categories=sorted(found))
        names = ", ".join(sorted(found))
        return ModerationBlocked(f"The text of this job is not allowed here ({names}): change it.")

    def judge(self, claim: Claim, pictures: Sequence[Picture]) -> list[dict[str, Any]]:
        """What the receipts of a job's pictures say about them; empty where the stage is off.

        Raises ModerationBlocked if one of them is blocked, or SafetyUnavailable.
        """
        policy = self.policy(claim)
        if policy is SafetyPolicy.OFF:
            return [{} for _ in pictures]
        labels = self._labels(claim, pictures)
        for label in labels:
            blocked = label.flagged and policy is SafetyPolicy.BLOCK
            result = "blocked" if blocked else "flagged" if label.flagged else "passed"
            metrics.MODERATED.inc(what="picture", result="unjudged" if label.nsfw is None else result)
        if policy is SafetyPolicy.BLOCK and any(label.flagged for label in labels):
            scores = [label.nsfw for label in labels]
            log.warning("pictures blocked", job=claim.id, tenant=claim.tenant_id, scores=scores)
            message = f"A picture of this job is not allowed here ({CATEGORY}), so none was stored: change the request."
            raise ModerationBlocked(message)
        return [{SAFETY: label.model_dump()} for label in labels]

    def may_reuse(self, claim: Claim, receipts: Sequence[Mapping[str, Any]]) -> bool:
        """Whether pictures with these receipts may answer a job: unless it is not judged, each must have been judged as
        it would be today, and where it blocks, none be flagged.
        """
        policy = self.policy(claim)
        if policy is SafetyPolicy.OFF:
            return True
        labels = [receipt.get(SAFETY) for receipt in receipts]
        return all(label and self._holds(SafetyLabel.model_validate(label), policy) for label in labels)

    def _holds(self, label: SafetyLabel, policy: SafetyPolicy) -> bool:
        is_current = label.nsfw is not None and label.flagged == (label.nsfw >= self._threshold)
        return is_current and not (label.flagged and policy is SafetyPolicy.BLOCK)

    def _labels(self, claim: Claim, pictures: Sequence[Picture]) -> list[SafetyLabel]:
        classifier = self._load()
        if classifier is not None:
            try:
                with metrics.SAFETY_SECONDS.time():
                    scores = classifier.scores(pictures)
                return [
                    SafetyLabel(flagged=score >= self._threshold, nsfw=score, classifier=classifier.name)
                    for score in scores
                ]
            except ValueError as error:
                log.error("could not judge pictures", job=claim.id, error=str(error))
        if self._closed:
            raise SafetyUnavailable if classifier is not None else ClassifierUnavailable(retry_after=RELOAD_SECONDS)
        return [SafetyLabel(flagged=False, nsfw=None, classifier=None) for _ in pictures]

    def _load(self) -> PictureClassifier | None:
        """The classifier, loaded when it is first needed: a tenant may ask for it at any time; None if it fails."""
        with self._lock:
            if self._classifier is None and time.monotonic() >= self._next_load:
                try:
                    self._classifier = PictureClassifier.load()
                except ConfigurationError as error:
                    self._failure, self._next_load = error, time.monotonic() + RELOAD_SECONDS
                    log.error("no picture classifier", closed=self._closed, error=error.message)
            return self._classifier
