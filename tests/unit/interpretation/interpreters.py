"""Interpreters whose language model gives the answer of a test."""

from __future__ import annotations

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.conditions import Turn
from limner_shared.domain.jobs import JobRequest
from limner_worker.stages.interpretation.interpreter import Request


def request(catalogue: Catalogue, description: str, *history: Turn) -> Request:
    card, spec = catalogue.resolve(JobRequest(description=description))
    return Request(spec.model_copy(update={"history": history}), card)
