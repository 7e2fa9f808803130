"""Starts the whole service and a browser for the tests of this folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import httpx
from playwright.sync_api import Browser, sync_playwright

from limner_client.client import Client
from tests.processes import eventually

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def limner_up(data: Path, port: int, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `limner up` and wait until it is ready; interrupt it at the end, as with Ctrl-C."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("LIMNER_")}
    variables = {"LIMNER_DATA_DIR": str(data), "LIMNER_PORT": str(port), "LIMNER_WEB_WORKERS": "1"} | more
    log = data.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "limner_client.cli.main", "up"],
            env=outer | variables,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        eventually(lambda: "ready" in log.read_text() and f":{port}" in log.read_text() and ready(port), 120, every=0.3)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(60)


def apart(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call a function in a thread of its own: Playwright has an event loop in this thread, where no other can run."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *arguments, **named).result()


def ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").is_success
    except httpx.TransportError:
        return False


def draw(port: int, prompt: str, **fields: Any) -> bytes:
    with Client(f"http://127.0.0.1:{port}") as client:
        job = client.submit({"prompt": prompt} | fields)
        while job.status not in ("succeeded", "failed", "canceled"):
            job = client.job(job.id, wait_seconds=20)
        assert job.status == "succeeded", job
        return client.download(job.images[0])


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "the page tests need a browser: apt-get install chromium"
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()
