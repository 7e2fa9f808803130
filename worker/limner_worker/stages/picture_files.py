"""Makes the files of finished pictures (chooses, judges, encodes as PNG, signs) and their records."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from limner_shared import metrics
from limner_shared.c2pa_signing import Ingredient, PictureSigner
from limner_shared.db.ledger import Claim, NewImage
from limner_shared.domain.inputs import reference_field
from limner_shared.domain.replay import CANDIDATES, DRAWN_AS, PLACES, READ_CHARS, SCENE, STYLE, run_lengths
from limner_shared.domain.safety import SIGNED
from limner_shared.errors import GenerationFailed, LimnerError, SigningFailed
from limner_shared.settings import Settings
from limner_worker.engine.job_run import JobRun, Row
from limner_worker.generators.base import Picture
from limner_worker.stages.choosing import CandidateChoice
from limner_worker.stages.interpretation.presenting.presentation import alt_text
from limner_worker.stages.provenance import PNG_KEY, xmp
from limner_worker.stages.recognising import PictureEvaluator, PictureReview
from limner_worker.stages.safety import SafetyStage


class PictureEncoder:
    """Makes the files of finished jobs: chosen, judged, encoded and signed, in this order. Safe for several threads.

    `review` then adds what the evaluator sees in them.
    """

    def __init__(
        self,
        safety: SafetyStage,
        signer: PictureSigner | None,
        *,
        signs: bool,
        evaluators: Mapping[str, PictureEvaluator] = MappingProxyType({}),
    ) -> None:
        """`signs` is whether pictures are signed whose tenant has no choice of its own.

        `evaluators` know the pictures of some models, by the models' names.
        """
        self.review = PictureReview(evaluators)
        self._evaluators = evaluators
        self._choice = CandidateChoice(evaluators)
        self._safety = safety
        self._signer = signer
        self._signs = signs

    @classmethod
    def of(
        cls, settings: Settings, safety: SafetyStage, evaluators: Mapping[str, PictureEvaluator] = MappingProxyType({})
    ) -> PictureEncoder:
        """The encoder that the settings ask for. Raises ConfigurationError for a certificate that cannot sign."""
        signer = PictureSigner.of(settings)
        if signer is not None:
            metrics.CERTIFICATE_END.set(signer.ends_at.timestamp(), file=str(settings.c2pa_certificate))
        return cls(safety, signer, signs=settings.c2pa == "on", evaluators=evaluators)

    def encode(self, job: JobRun, fingerprint: Mapping[str, Any]) -> list[tuple[bytes, NewImage]]:
        """Return a job's pictures as PNG, each with its image record, which is true once the bytes are stored.

        Raises GenerationFailed if one is missing, ModerationBlocked, SafetyUnavailable or SigningFailed.
        """
        if any(row.picture is None for row in job.rows):
            raise GenerationFailed
        self._choice.settle(job)
        pictures = [row.picture for row in job.rows if row.picture is not None]
        labels = self._safety.judge(job.claim, pictures)
        encoded = zip(job.rows, pictures, labels, strict=True)
        return [self._encode(job, row, picture, {**fingerprint, **label}) for row, picture, label in encoded]

    def outage(self, claim: Claim) -> LimnerError | None:
        """The error of a job whose pictures could not be judged or signed now, as far as that is known; or None."""
        signing = self._signer.outage() if self._signer is not None and self._is_signed(claim) else None
        return signing or self._safety.outage(claim)

    def may_reuse(self, claim: Claim, receipts: Sequence[Mapping[str, Any]]) -> bool:
        """Whether stored pictures with these receipts may answer a job: judged and signed as its own would be."""
        signed = [SIGNED in receipt for receipt in receipts]
        return set(signed) == {self._is_signed(claim)} and self._safety.may_reuse(claim, receipts)

    def _is_signed(self, claim: Claim) -> bool:
        own = claim.tenant.sign_pictures
        return self._signs if own is None else own

    def _encode(self, job: JobRun, row: Row, picture: Picture, more: dict[str, Any]) -> tuple[bytes, NewImage]:
        spec = row.task.spec
        png = encode_png(picture, xmp(spec, row.task.seed) if spec.provenance else None)
        if self._is_signed(job.claim):
            more[SIGNED] = {"unsigned_sha256": hashlib.sha256(png).hexdigest()}
            png = self._signed(png, job, row)
        return png, self._record(row, png, picture, more)

    def _record(self, row: Row, png: bytes, picture: Picture, more: Mapping[str, Any]) -> NewImage:
        spec, task = row.task.spec, row.task
        height, width, _ = picture.shape
        evaluator = self._evaluators.get(spec.model)
        language, translate = (
            ("en", None) if evaluator is None else (evaluator.language_for(spec), evaluator.translated)
        )
        return NewImage(
            sha256=hashlib.sha256(png).hexdigest(),
            media_type="image/png",
            width=width,
            height=height,
            size_bytes=len(png),
            seed=task.seed,
            receipt={**more, **receipt_of(row)},
            alt_text=alt_text(spec, task.seed, task.drawn_as, task.scene, language, translate),
        )

    def _signed(self, png: bytes, job: JobRun, row: Row) -> bytes:
        if self._signer is None:
            raise SigningFailed("The tenant wants signed pictures, and this worker has no certificate.")
        task, fields = row.task, job.signed_inputs
        given = [("source", "image", task.image), ("mask", "mask", task.mask)]
        given.append(("control", "control_image", task.control_image))
        for index, reference in enumerate(task.reference_images):
            given.append((f"reference-{index + 1}", reference_field(index), reference))
        sources = [
            Ingredient(fields.get(field) or encode_png(picture), "image/png", name=name)
            for name, field, picture in given
            if picture is not None
        ]
        return self._signer.created(png, task.spec.model, *sources)


def receipt_of(row: Row) -> dict[str, Any]:
    """Return what the receipt of a picture says of its batches and of what was drawn."""
    receipt: dict[str, Any] = {"seed": row.task.seed, "buckets": run_lengths(row.task.buckets)}
    if any(row.task.places):
        receipt[PLACES] = run_lengths(row.task.places)
    if row.task.style is not None:
        receipt[STYLE] = row.task.style
    if row.task.drawn_as is not None:
        receipt[DRAWN_AS] = row.task.drawn_as
    if row.task.read_chars is not None:
        receipt[READ_CHARS] = row.task.read_chars
    if row.task.scene is not None:
        receipt[SCENE] = row.task.scene.recorded()
    if row.task.spec.candidates > 1:
        receipt[CANDIDATES] = row.task.spec.candidates
    if row.task.adapter_files:
        receipt["adapter_files"] = row.task.adapter_files
    if row.task.spec.scheduler:
        receipt["sampler"] = row.task.spec.scheduler
    return receipt


def encode_png(picture: Picture, packet: str | None = None) -> bytes:
    """Encode the pixels and an XMP packet as PNG. Equal pixels and packets give equal bytes."""
    buffer = io.BytesIO()
    info = PngInfo()
    if packet is not None:
        info.add_itxt(PNG_KEY, packet)
    Image.fromarray(picture).save(buffer, "PNG", compress_level=4, pnginfo=info)
    return buffer.getvalue()
