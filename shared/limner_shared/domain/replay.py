"""Replays: reproduce a job's bytes from its batch sizes, and explain differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.safety import SIGNED
from limner_shared.domain.scenes import Scene
from limner_shared.domain.views import ReceiptView

REPLAY_OF: Final = "replay_of"
"""The metadata key of a replay that names the original job."""
DRAWN_AS: Final = "drawn_as"
"""In a receipt, the name that was drawn instead of a prompt that says more."""
READ_CHARS: Final = "read_chars"
"""In a receipt, how many characters of its prompt the model's text encoders read; there is none if they read all."""
STYLE: Final = "style"
"""In a receipt, the style that the picture was drawn in; receipts of earlier versions have none."""
SCENE: Final = "scene"
"""In a receipt, what the picture was put together from; there is none for a picture that was drawn as a whole."""
RECOGNITION: Final = "recognition"
"""In a receipt, what the evaluator says of the picture; there is none where it does not know the prompt."""
PLACES: Final = "places"
"""The receipt key of a picture's places in its batches; there is none if all are the first or do not matter."""
CANDIDATES: Final = "candidates"
"""In a receipt, how many candidates the picture was chosen among; there is none if it was the only one."""
SHARED_WITH: Final = "shared_with"
"""The receipt key of a picture that was reused: the job that it was generated for."""


def run_lengths(buckets: Sequence[int]) -> list[list[int]]:
    """Run-length encode: [8, 8, 4] → [[8, 2], [4, 1]]. It keeps the receipt of a hundred steps short."""
    runs: list[list[int]] = []
    for bucket in buckets:
        if runs and runs[-1][0] == bucket:
            runs[-1][1] += 1
        else:
            runs.append([bucket, 1])
    return runs


def _unfolded(runs: Sequence[Sequence[int]]) -> tuple[int, ...]:
    return tuple(value for value, count in runs for _ in range(count))


def replay_spec(spec: JobSpec, receipts: Sequence[Mapping[str, Any]]) -> JobSpec:
    """Return the spec that reproduces a job's images: alone, but in the sizes of their batches, at their places."""
    sizes = tuple(_unfolded(receipt["buckets"]) for receipt in receipts)
    # The spec holds the conditions already: the description is not interpreted again.
    changed: dict[str, Any] = {"replay": sizes, "description": None, "history": (), "given": ()}
    if any(PLACES in receipt for receipt in receipts):
        changed["replay_places"] = tuple(_unfolded(receipt.get(PLACES, [])) for receipt in receipts)
    if spec.candidates > 1:
        changed |= {"candidates": 1, "seeds": tuple(int(receipt["seed"]) for receipt in receipts)}
    if not all(STYLE in receipt for receipt in receipts):
        changed["styles"] = ()  # drawn by a worker of a release that ignores this field
    if not all(SCENE in receipt for receipt in receipts):
        changed["scenes"] = None  # drawn as a whole, perhaps by a worker of a release that ignores this field
    else:
        changed["scene"] = Scene.read(receipts[0].get(SCENE)) if receipts else None  # one prompt has one scene
    return spec.model_copy(update=changed)


def differences(then: ReceiptView, now: ReceiptView) -> list[str]:
    """The reasons why the bytes of two pictures differ, one per line; empty if the unsigned files are identical."""
    if _unsigned(then) == _unsigned(now):
        return []
    names = sorted((then.receipt.keys() | now.receipt.keys()) - {SHARED_WITH, SIGNED, RECOGNITION})
    found = [
        f"{name}: {_say(then.receipt.get(name))} then, {_say(now.receipt.get(name))} now"
        for name in names
        if then.receipt.get(name) != now.receipt.get(name)
    ]
    return [f"sha256: {then.sha256} then, {now.sha256} now", *(found or ["no difference in the receipts"])]


def _unsigned(view: ReceiptView) -> str:
    """The digest of the file without its signed manifest, which is another one each time."""
    signed: Mapping[str, Any] = view.receipt.get(SIGNED) or {}
    return signed.get("unsigned_sha256", view.sha256)


def _say(value: object) -> str:
    return "not recorded" if value is None else str(value)
