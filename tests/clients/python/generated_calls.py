"""Generates a client from this service's OpenAPI document, uses it, and prints what came back as JSON."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

CONFIG = """
package_name_override: generated
content_type_overrides: {image/png: application/octet-stream, image/webp: application/octet-stream,
  image/jpeg: application/octet-stream, application/jsonl: application/octet-stream}
"""

origin = sys.argv[1]
folder = Path(tempfile.mkdtemp())
(folder / "config.yml").write_text(CONFIG, "utf-8")
urllib.request.urlretrieve(f"{origin}/api/v1/openapi.json", folder / "openapi.json")  # noqa: S310 - our own service
options = ["--path", "openapi.json", "--config", "config.yml", "--meta", "none", "--output-path", "generated"]
made = subprocess.run(
    [sys.executable, "-m", "openapi_python_client", "generate", *options],
    cwd=folder,
    env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
    capture_output=True,
    text=True,
    check=False,
)
sys.path.insert(0, str(folder))


def api(name: str) -> Any:
    return importlib.import_module(f"generated.{name}")


client = api("client").Client(base_url=origin)
models = api("models")
listed = api("api.models.list_models").sync(client=client)
job = api("api.jobs.create_job").sync(client=client, body=models.JobRequest(prompt="a red apple", n=2, model="canvas"))
ended = api("api.jobs.get_job").sync(job_id=job.id, client=client, wait=20)
while ended.status not in ("succeeded", "failed"):
    ended = api("api.jobs.get_job").sync(job_id=job.id, client=client, wait=20)
page = api("api.jobs.list_jobs").sync(client=client, limit=5)
refused = api("api.jobs.create_job").sync(client=client, body=models.JobRequest(prompt="x", model="none"))
missing = api("api.jobs.get_job").sync(job_id="job_0", client=client)
found = {
    "unread": [line for line in made.stdout.splitlines() if "Unable to process" in line or "reference" in line],
    "models": [model.name for model in listed.items],
    "ended": [str(ended.status), len(ended.images), ended.created_at is not None],
    "listed": job.id in [each.id for each in page.items],
    "refused": [type(refused).__name__, refused.code],
    "missing": [type(missing).__name__, missing.status],
}
sys.stdout.write(json.dumps(found))
