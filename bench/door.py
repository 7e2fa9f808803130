"""Time from `images.generate` of the official openai client to the picture, against the native API's own path.

    python -m bench.door [--quick]

Both sides alternate round by round on one service with one worker: the same model, prompt, seed and steps, and both end
with the bytes of the picture. The native side submits, waits for the end and downloads.
"""

from __future__ import annotations

import base64
import time
from typing import Any, Final

import click
import openai

from bench.common import report, running_stack, summary
from limner_client.client import Client

GOAL: Final = 1.02


def native(client: Client, prompt: str, seed: int) -> tuple[float, bytes]:
    """Return the seconds from the submission to the downloaded picture, and the picture."""
    started = time.perf_counter()
    job = client.submit({"prompt": prompt, "seed": seed})
    while job.status not in ("succeeded", "failed", "canceled"):
        job = client.job(job.id, wait_seconds=25)
    if job.status != "succeeded":
        raise SystemExit(f"the job ended as {job.status}: {job.error}")
    picture = client.download(job.images[0])
    return time.perf_counter() - started, picture


def door(client: openai.OpenAI, prompt: str, seed: int) -> tuple[float, bytes]:
    """Return the seconds from the call to the decoded picture, and the picture."""
    started = time.perf_counter()
    extra: dict[str, Any] = {"seed": seed}
    answer = client.images.generate(prompt=prompt, extra_body=extra)
    picture = base64.b64decode((answer.data or [])[0].b64_json or "")
    return time.perf_counter() - started, picture


@click.command()
@click.option("--quick", is_flag=True, help="Fewer rounds, under 50 s.")
def main(quick: bool) -> None:
    """Measure, and print the figures."""
    rounds = 30 if quick else 200
    ours: list[float] = []
    theirs: list[float] = []
    with (
        running_stack() as stack,
        Client(stack.url) as direct,
        openai.OpenAI(base_url=f"{stack.url}/v1", api_key="unused", max_retries=0) as compatible,
    ):
        native(direct, "a red apple", 0)
        door(compatible, "a red apple", 0)  # warm-up
        for number in range(rounds):
            prompt = f"a red apple {number % 7}"
            if number % 2:
                (native_s, plain), (door_s, through) = native(direct, prompt, number), door(compatible, prompt, number)
            else:
                (door_s, through), (native_s, plain) = door(compatible, prompt, number), native(direct, prompt, number)
            if plain != through:
                raise SystemExit("the two sides have made different pictures")
            ours.append(door_s)
            theirs.append(native_s)
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    figures = {"door_s": summary(ours), "native_s": summary(theirs), "ratio": summary(ratios)}
    met = figures["ratio"]["median"] <= GOAL
    bars = {"images.generate": ours, "native API": theirs}
    report("door", figures, f"the door at most {GOAL} x the native path", met=met, bars=bars, unit="seconds")


if __name__ == "__main__":
    main()
