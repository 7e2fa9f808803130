"""The whole service as started by `limner up`, with the real model and a real browser, until it stops."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from tests.processes import eventually

from limner_client.client import Client
from limner_client.local.embedded_valkey import free_port


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


def ready(port: int) -> bool:
    with Client(f"http://127.0.0.1:{port}") as client:
        try:
            return bool(client.models())
        except Exception:  # noqa: BLE001 - any error means that it is not up yet
            return False


def draw(port: int, prompt: str, **fields: object) -> bytes:
    with Client(f"http://127.0.0.1:{port}") as client:
        job = client.submit({"prompt": prompt} | fields)
        while job.status not in ("succeeded", "failed", "canceled"):
            job = client.job(job.id, wait_seconds=20)
        assert job.status == "succeeded", job
        return client.download(job.images[0])


@contextmanager
def browser_page(port: int, path: str = "/") -> Iterator[Page]:
    """A page in Debian's Chromium. The policy that forbids inline scripts applies to tests too."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "the page tests need a browser: apt-get install chromium"
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}{path}")
        yield page
        browser.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a running service."""
    port = free_port()
    with limner_up(tmp_path_factory.mktemp("up") / "data", port):
        yield port


def test_the_page_shows_a_picture_without_a_reload(service):
    with browser_page(service) as page:
        page.get_by_label("Prompt").fill("red apple")
        page.get_by_label("Seed").fill("7")
        page.get_by_label("Pictures").first.fill("16")  # enough work to show progress on any machine
        page.get_by_role("button", name="Draw").click()
        card = page.locator(".card").first
        expect(card.locator(".said")).to_contain_text("of 128", timeout=30_000)
        picture = card.get_by_role("img", name="red apple").first
        expect(picture).to_be_visible(timeout=60_000)
        eventually(lambda: picture.evaluate("image => image.naturalWidth") == 256)
        page.reload()
        expect(page.locator(".card.succeeded").first).to_contain_text("red apple")


def test_the_conversation_page_changes_a_picture_and_edits_a_message(service):
    with browser_page(service, "/conversation") as page:
        for number, text in enumerate(("please draw a red car, 64x64", "bluer"), 1):
            page.get_by_label("Message").fill(text)
            page.get_by_role("button", name="Send").click()
            expect(page.locator(".reply.succeeded")).to_have_count(number, timeout=60_000)
        expect(page.locator(".presentation")).to_have_text([re.compile("a red car"), re.compile("a blue car")])
        picture = page.get_by_role("img", name="a blue car")
        eventually(lambda: picture.evaluate("image => image.naturalWidth") == 64)
        page.locator(".turn").nth(1).get_by_role("button", name="Edit").click()
        page.get_by_label("Message").fill("greener")
        page.keyboard.press("Enter")
        expect(page.locator(".presentation").last).to_contain_text("a green car", timeout=60_000)
        expect(page.locator(".branch").nth(1)).to_contain_text("2 / 2")
        page.reload()
        expect(page.locator(".presentation").last).to_contain_text("a green car", timeout=60_000)
        page.get_by_role("button", name="Previous version").click()
        expect(page.get_by_role("img", name="a blue car")).to_be_visible(timeout=60_000)
        expect(page.get_by_role("link", name="please draw a red car")).to_be_visible()


def test_a_running_job_shows_a_preview(service):
    with browser_page(service) as page, Client(f"http://127.0.0.1:{service}") as client:
        job = client.submit({"prompt": "sunflower", "steps": 100, "n": 16, "seed": 3})
        preview = page.locator(f"#{job.id} .preview")
        expect(preview).to_be_visible(timeout=60_000)
        eventually(lambda: preview.evaluate("image => image.naturalWidth") == 64)
        client.cancel(job.id)


def test_the_page_shows_api_errors_next_to_the_form(service):
    with browser_page(service) as page:
        page.get_by_label("Prompt").fill("red apple")
        page.get_by_label("Pictures").first.fill("99")
        page.get_by_role("button", name="Draw").click()
        expect(page.get_by_role("alert")).to_contain_text("1 to 16")


def test_the_same_request_gives_the_same_bytes(service):
    first = draw(service, "rocket", seed=3, steps=4)
    assert first == draw(service, "rocket", seed=3, steps=4)
    assert Image.open(io.BytesIO(first)).size == (256, 256)


def test_results_survive_a_restart_and_no_process_remains(tmp_path):
    port = free_port()
    with limner_up(tmp_path / "data", port) as process:
        draw(port, "ghost", steps=2)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 4
    assert process.returncode == 0
    assert psutil.wait_procs(family, timeout=10)[1] == []
    with limner_up(tmp_path / "data", port), Client(f"http://127.0.0.1:{port}") as client:
        [job] = client.jobs().items
        assert (job.prompt, job.status) == ("ghost", "succeeded")
        assert client.download(job.images[0])
