"""Make a picture with the Python client and save it: `python examples/python_client.py "a red apple" apple.png`."""

import os
import sys
from pathlib import Path

from limner_client import Client

SERVER = os.environ.get("LIMNER_SERVER_URL", "http://127.0.0.1:8700")


def main(prompt: str, file: Path) -> None:
    """Submit one job, print each change of its status, save its picture."""
    with Client(SERVER, os.environ.get("LIMNER_API_KEY")) as client:
        job = client.submit({"prompt": prompt, "model": "limner-gan", "seed": 7})
        for seen in client.wait(job.id):
            print(seen.id, seen.status)
            job = seen
        if job.error is not None:
            raise SystemExit(f"{job.error.code}: {job.error.message}")
        file.write_bytes(client.download(job.images[0]))
        print(f"{file}: {job.images[0].width} x {job.images[0].height} pixels, seed {job.images[0].seed}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
