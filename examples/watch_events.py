"""Print every change of your jobs until one of them has ended: `python examples/watch_events.py "a red apple"`."""

import json
import os
import sys

import httpx
from httpx_sse import connect_sse

SERVER = os.environ.get("LIMNER_SERVER_URL", "http://127.0.0.1:8700")
KEY = os.environ.get("LIMNER_API_KEY")


def main(prompt: str) -> None:
    """Open the stream first, so that no change is missed, then submit a job."""
    headers = {"Authorization": f"Bearer {KEY}"} if KEY else {}
    with (
        httpx.Client(base_url=SERVER, headers=headers, timeout=60) as client,
        connect_sse(client, "GET", "/api/v1/events") as source,
    ):
        job = client.post("/api/v1/jobs", json={"prompt": prompt, "model": "limner-gan"}).raise_for_status().json()
        for event in source.iter_sse():
            if not event.data:  # a comment that keeps the connection open
                continue
            change = json.loads(event.data)
            print(event.event, change)
            if change["id"] == job["id"] and change.get("status") in ("succeeded", "failed", "canceled"):
                return


if __name__ == "__main__":
    main(sys.argv[1])
