"""To make a job's bytes again: which batch sizes its images went through, and what differs if they do not come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.views import ReceiptView

REPLAY_OF = "replay_of"
"""The metadata of a replay that names the job."""
SHARED_WITH = "shared_with"
"""In a receipt, the job that the picture was drawn for, where an equal request had been there before."""


def run_lengths(buckets: Sequence[int]) -> list[list[int]]:
    """[8, 8, 4] → [[8, 2], [4, 1]]: the receipt of a hundred steps stays short."""
    runs: list[list[int]] = []
    for bucket in buckets:
        if runs and runs[-1][0] == bucket:
            runs[-1][1] += 1
        else:
            runs.append([bucket, 1])
    return runs


def replay_spec(spec: JobSpec, receipts: Sequence[Mapping[str, Any]]) -> JobSpec:
    """What makes a job's images again: alone, but padded to the sizes of the batches that each was in."""
    sizes = tuple(tuple(size for size, count in receipt["buckets"] for _ in range(count)) for receipt in receipts)
    # The conditions stand in the spec already: nobody is asked again what the description means.
    return spec.model_copy(update={"replay": sizes, "description": None, "history": (), "given": ()})


def differences(then: ReceiptView, now: ReceiptView) -> list[str]:
    """Why one picture's bytes are not the other's, a line each; empty if they are the same."""
    if then.sha256 == now.sha256:
        return []
    names = sorted((then.receipt.keys() | now.receipt.keys()) - {SHARED_WITH})
    found = [
        f"{name}: {_say(then.receipt.get(name))} then, {_say(now.receipt.get(name))} now"
        for name in names
        if then.receipt.get(name) != now.receipt.get(name)
    ]
    return [f"sha256: {then.sha256} then, {now.sha256} now", *(found or ["nothing that the receipts tell"])]


def _say(value: object) -> str:
    return "not told" if value is None else str(value)
