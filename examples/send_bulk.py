"""Send a file of prompts as one bulk and print its results: `python examples/send_bulk.py prompts.txt`.

The idempotency key is made of the file's content: running the program twice makes the pictures once.
"""

import hashlib
import io
import json
import os
import sys
import time
from pathlib import Path

from limner_client import Client

SERVER = os.environ.get("LIMNER_SERVER_URL", "http://127.0.0.1:8700")


def main(file: Path) -> None:
    """One job for each line of the file."""
    prompts = [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
    lines = "".join(json.dumps({"prompt": prompt, "model": "limner-gan"}) + "\n" for prompt in prompts)
    key = hashlib.sha256(lines.encode()).hexdigest()
    with Client(SERVER, os.environ.get("LIMNER_API_KEY")) as client:
        bulk = client.submit_bulk(io.BytesIO(lines.encode()), idempotency_key=key)
        while bulk.status not in ("done", "canceled"):
            print(f"{bulk.ended} of {bulk.total}")
            time.sleep(0.5)
            bulk = client.bulk(bulk.id)
        for job in client.bulk_results(bulk.id):
            print(job.line, job.status, job.prompt, *(image.sha256 for image in job.images))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
