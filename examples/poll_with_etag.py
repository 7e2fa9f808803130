"""Wait for several jobs at once over plain HTTP: `python examples/poll_with_etag.py "a cat" "a dog"`.

A long poll (`?wait=20`) is answered when the job ends, and at the latest after 20 seconds. `If-None-Match` makes the
answer empty (304) while the job has not changed.
"""

import asyncio
import os
import sys

import httpx

SERVER = os.environ.get("LIMNER_SERVER_URL", "http://127.0.0.1:8700")
KEY = os.environ.get("LIMNER_API_KEY")
FINAL = ("succeeded", "failed", "canceled")


async def make(client: httpx.AsyncClient, prompt: str) -> None:
    """Submit a job and poll until it has ended."""
    answer = await client.post("/api/v1/jobs", json={"prompt": prompt, "model": "limner-gan"})
    answer.raise_for_status()
    job, etag = answer.json(), answer.headers["ETag"]
    while job["status"] not in FINAL:
        answer = await client.get(job["links"]["self"], params={"wait": 20}, headers={"If-None-Match": etag})
        if answer.status_code != 304:  # 304: not modified
            answer.raise_for_status()
            job, etag = answer.json(), answer.headers["ETag"]
    print(prompt, job["status"], *(image["url"] for image in job["images"]))


async def main(prompts: list[str]) -> None:
    """Make all pictures at the same time."""
    headers = {"Authorization": f"Bearer {KEY}"} if KEY else {}
    async with httpx.AsyncClient(base_url=SERVER, headers=headers, timeout=30) as client:
        await asyncio.gather(*(make(client, prompt) for prompt in prompts))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
