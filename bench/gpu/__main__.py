"""Run the GPU suite: first the checks, then the figures of each model; write JSON, a Markdown table and a plot.

    bench/gpu/run.sh [--seconds 540] [--only checks,sdxl] [--toy --device cpu]

Child processes run the parts, because a fault may make a device unusable for its process; after one, the next goes on
with the rest. Results are written after each figure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

RESULTS: Final = Path(__file__).parents[1] / "results" / "gpu"
CHECKS: Final = ("checks", "compiling")
PARTS: Final = (*CHECKS, "sdxl", "flux-schnell", "sd-1.5", "flow", "sd-3.5-medium", "qwen-image", "flux-dev")
LEAST_SECONDS: Final = 40.0
"""The time that must be left to start another process."""


def main() -> None:
    """Run the parts, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto", help="cuda, cuda:1, cpu; default: the first GPU, or else the CPU")
    parser.add_argument("--toy", action="store_true", help="tiny pipelines, for a CPU")
    parser.add_argument("--quick", action="store_true", help="the checks only, on tiny pipelines")
    parser.add_argument("--seconds", type=float, default=540, help="stop after this time")
    parser.add_argument("--sizes", type=int, default=2, help="the number of picture sizes of each model")
    parser.add_argument("--only", default=",".join(PARTS), help="the parts to run, separated by commas")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    parts = [CHECKS[0]] if options.quick else options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--only: {', '.join(sorted(unknown))}: choose from {', '.join(PARTS)}")
    options.output.mkdir(parents=True, exist_ok=True)
    if options.child:
        from bench.gpu import parts as work  # noqa: PLC0415 - the parent needs no torch

        sys.stdin.read()  # until the parent lets it begin
        toy = options.toy or options.quick
        work.run(parts, options.device, options.output, toy=toy, seconds=options.seconds, sizes=options.sizes)
        return
    for part in PARTS:
        (options.output / f"{part}.json").unlink(missing_ok=True)
    _supervise(parts, options)
    from bench.gpu import summary  # noqa: PLC0415 - matplotlib is slow to import

    print(json.dumps(summary.write(options.output)))


class _Child:
    """A process that runs parts. Its imports take long, so a waiting one is started early."""

    def __init__(
        self, parts: list[str], options: argparse.Namespace, deadline: float, *, waiting: bool = False
    ) -> None:
        self.parts, self._folder, self._deadline = parts, options.output, deadline
        command = [sys.executable, "-m", "bench.gpu", "--child", "--device", options.device, "--only", ",".join(parts)]
        command += [
            "--output",
            str(options.output),
            "--sizes",
            str(options.sizes),
            "--seconds",
            str(deadline - time.monotonic() - 5),
        ]
        command += ["--toy"] if options.toy or options.quick else []
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)
        if not waiting:
            self.go()

    def go(self) -> None:
        """Let it begin."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def wait(self) -> list[str]:
        """Wait for its end, note a part that it did not complete, and return the parts after that."""
        try:
            code: int | str = self._process.wait(max(1.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            code = "out of time"
        undone = [part for part in self.parts if not _ended(self._folder / f"{part}.json")]
        if undone:
            _note(self._folder / f"{undone[0]}.json", undone[0], f"ended early: {code}")
        return undone[1:]


def _supervise(parts: list[str], options: argparse.Namespace) -> None:
    """Run the checks beside each other; then measure, in another process after each one that ended early."""
    deadline = time.monotonic() + options.seconds
    checking = [_Child([part], options, deadline) for part in parts if part in CHECKS]
    left = [part for part in parts if part not in CHECKS]
    measuring = _Child(left, options, deadline, waiting=True) if left else None
    for child in checking:
        child.wait()
    while measuring is not None:
        measuring.go()
        left = measuring.wait()
        measuring = _Child(left, options, deadline) if left and deadline - time.monotonic() > LEAST_SECONDS else None


def _ended(file: Path) -> bool:
    return file.exists() and bool(json.loads(file.read_text())["ended"])


def _note(file: Path, part: str, error: str) -> None:
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"part": part, "results": []}
    file.write_text(json.dumps(found | {"ended": True, "error": error}, indent=2))


if __name__ == "__main__":
    main()
