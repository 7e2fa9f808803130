"""Describe a picture, then change it: `python examples/conversation.py "a red car, please" "make it blue"`."""

import os
import sys

import httpx

SERVER = os.environ.get("LIMNER_SERVER_URL", "http://127.0.0.1:8700")
KEY = os.environ.get("LIMNER_API_KEY")


def main(messages: list[str]) -> None:
    """The first message opens the conversation; each further one refers to what was said before."""
    headers = {"Authorization": f"Bearer {KEY}"} if KEY else {}
    with httpx.Client(base_url=SERVER, headers=headers, timeout=40) as client:
        conversation = client.post("/api/v1/conversations", json={"message": messages[0]}).raise_for_status().json()
        turn = conversation["turns"][0]
        for message in [None, *messages[1:]]:
            if message is not None:
                answer = client.post(conversation["links"]["messages"], json={"message": message})
                turn = answer.raise_for_status().json()
            job = turn["job"]
            while job["status"] in ("queued", "running"):
                job = client.get(job["links"]["self"], params={"wait": 20}).raise_for_status().json()
            print(f"> {turn['message']}\n{job['presentation']} ({job['revised_prompt']})")


if __name__ == "__main__":
    main(sys.argv[1:])
