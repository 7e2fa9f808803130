"""The bodies of A1111's answers, as plain dictionaries."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any, Final

from limner_shared.domain.jobs import JobState
from limner_shared.domain.views import JobView
from limner_web.a1111.parameters import Generation

NOT_ECHOED: Final = ("auth", "url", "init_images", "mask")
"""Parameters that are not repeated in the answer: credentials, and pictures that the client has."""


def generation_answer(
    asked: Generation, job: JobView, texts: Sequence[str], files: Sequence[bytes], body: dict[str, Any]
) -> dict[str, Any]:
    """The answer to `txt2img` and `img2img`: the files in base64, the request's parameters, and `info` as JSON text."""
    hidden = NOT_ECHOED[:2] if asked.include_inputs else NOT_ECHOED
    return {
        "images": [base64.b64encode(file).decode() for file in files],
        "parameters": {name: value for name, value in body.items() if name not in hidden},
        "info": json.dumps(_info(asked, job, texts), ensure_ascii=False),
    }


def _info(asked: Generation, job: JobView, texts: Sequence[str]) -> dict[str, Any]:
    seeds, count = [image.seed for image in job.images], len(job.images)
    width, height = asked.letterbox or (job.width, job.height)
    styles = {image.style for image in job.images}  # the answer has one style, so only a style that all pictures have
    return {
        "prompt": job.prompt,
        "all_prompts": [job.prompt] * count,
        "negative_prompt": job.negative_prompt,
        "all_negative_prompts": [job.negative_prompt] * count,
        "seed": job.seed,
        "all_seeds": seeds,
        "subseed": job.seed,
        "all_subseeds": seeds,
        "subseed_strength": 0,
        "width": width,
        "height": height,
        "sampler_name": job.scheduler or "Automatic",
        "cfg_scale": job.guidance,
        "steps": job.steps,
        "batch_size": count,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": job.model,
        "sd_model_hash": None,
        "sd_vae_name": None,
        "denoising_strength": job.strength,
        "extra_generation_params": {},
        "index_of_first_image": 0,
        "infotexts": list(texts),
        "styles": [style for style in styles if style and len(styles) == 1],
        "job_timestamp": job.created_at.strftime("%Y%m%d%H%M%S"),
        "clip_skip": 1,
        "is_using_inpainting_conditioning": False,
        "version": "Limner",
        "job_id": job.id,
        "warnings": list(asked.warnings),
    }


def progress_answer(jobs: Sequence[JobView], preview: bytes | None, seconds_left: float) -> dict[str, Any]:
    """The answer to `progress` for the caller's jobs that have not ended, the current one first; 0 seconds: unknown."""
    current = jobs[0] if jobs else None
    done = current.progress.done if current and current.progress else 0
    total = current.progress.total if current and current.progress else 0
    # Clients take 0 for idle, so a job that has not begun is a little above it.
    progress = 0.0 if current is None else max(0.01, done / total if total else 0.0)
    state = {
        "skipped": False,
        "interrupted": False,
        "stopping_generation": False,
        "job": current.id if current else "",
        "job_count": len(jobs),
        "job_timestamp": current.created_at.strftime("%Y%m%d%H%M%S") if current else "0",
        "job_no": 0,
        "sampling_step": done,
        "sampling_steps": total,
    }
    waits = current is not None and current.status is JobState.QUEUED
    return {
        "progress": progress,
        "eta_relative": seconds_left,
        "state": state,
        "current_image": base64.b64encode(preview).decode() if preview else None,
        "textinfo": "Waiting" if waits else None,
    }
