"""The workers of docker-compose.yml on the GPUs of a machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

COMPOSE = Path(__file__).parents[3] / "docker-compose.yml"
GPU_WORKERS = ["worker-gpu", *(f"worker-gpu-{number}" for number in range(1, 8))]


def test_each_gpu_worker_has_a_gpu_of_its_own_and_differs_in_nothing_else() -> None:
    services: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    workers = {name: dict(services[name]) for name in GPU_WORKERS}
    devices = {name: each.pop("deploy")["resources"]["reservations"]["devices"] for name, each in workers.items()}
    gpu = {"driver": "nvidia", "capabilities": ["gpu"]}
    assert devices == {name: [gpu | {"device_ids": [str(number)]}] for number, name in enumerate(GPU_WORKERS)}
    profiles = {name: each.pop("profiles", []) for name, each in workers.items()}
    assert profiles == {"worker-gpu": []} | {name: [name.removeprefix("worker-")] for name in GPU_WORKERS[1:]}
    assert all(each == workers["worker-gpu"] for each in workers.values())
