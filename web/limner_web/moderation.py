"""Moderation at the edge: refuses texts by the operator's rules and a tenant's own terms, before anything is stored."""

from __future__ import annotations

import time
from typing import Final

from limner_shared import metrics
from limner_shared.db.accounts import tenants
from limner_shared.db.engine import Database
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.safety import texts_of
from limner_shared.domain.text_rules import BUILTIN, TextRules, load_rules, rules_of_terms
from limner_shared.errors import ConfigurationError, ModerationBlocked, SafetyUnavailable
from limner_shared.picture_classifier import PictureClassifier
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger
from limner_web.serving.offload import OffloadPool

log = get_logger(__name__)

FRESH_SECONDS: Final = 5.0
"""A change of a tenant's terms takes effect within this time."""
MAX_TENANTS: Final = 10_000


class Moderation:
    """Judges texts and pictures. The classifier is loaded when the first picture is to be judged."""

    def __init__(self, settings: Settings, database: Database, pillow: OffloadPool) -> None:
        """`pillow` runs the classifier. Raises ConfigurationError for rules that cannot be read."""
        self._database = database
        self._pillow = pillow
        self._threshold = settings.safety_threshold
        self._rules = load_rules(settings.moderation_rules)
        self._judged_by = self._rules if settings.moderation_rules else load_rules([BUILTIN])
        self._own: dict[str, tuple[float, TextRules]] = {}
        self._classifier: PictureClassifier | None = None

    def check(self, tenant_id: str, spec: JobSpec) -> JobSpec:
        """Return a job whose text is allowed. Raises ModerationBlocked."""
        texts = list(texts_of(spec))
        found = sorted({*self._rules.categories(texts), *self._own_rules(tenant_id).categories(texts)})
        if not found:
            return spec
        metrics.MODERATED.inc(what="text", result="blocked")
        log.warning("text blocked", tenant=tenant_id, categories=found)
        field = "prompt" if spec.description is None else "description"
        message = f"{field}: this text is not allowed here ({', '.join(found)}): change it."
        raise ModerationBlocked(message, field=field, categories=found)

    def categories(self, tenant_id: str, text: str) -> set[str]:
        """The categories of a text by the operator's rules, or else the built-in ones, and by the tenant's terms."""
        return {*self._judged_by.categories([text]), *self._own_rules(tenant_id).categories([text])}

    def score(self, tenant_id: str, picture: bytes) -> float:
        """The classifier's score of a picture file, 0 to 1. Raises SafetyUnavailable, Overloaded, or ValueError."""
        return self._pillow.call_for(tenant_id, self._score, picture)

    def flags(self, score: float) -> bool:
        """Whether a picture with this score is flagged."""
        return score >= self._threshold

    def _score(self, picture: bytes) -> float:
        if self._classifier is None:
            try:
                self._classifier = PictureClassifier.load()
            except ConfigurationError as error:
                raise SafetyUnavailable(f"This server judges no images: {error.message}") from error
        return self._classifier.scores([picture])[0]

    def _own_rules(self, tenant_id: str) -> TextRules:
        known = self._own.get(tenant_id)
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        with self._database.read() as session:
            policy = tenants.policy(session, tenant_id)
        if len(self._own) >= MAX_TENANTS:
            self._own.clear()
        rules = rules_of_terms(policy.blocked_terms)
        self._own[tenant_id] = time.monotonic() + FRESH_SECONDS, rules
        return rules
