"""A reader of the guides for operators: the commands of a guide, and who enters them as they stand."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from click.testing import CliRunner

from limner_client.cli.main import cli
from limner_client.local.embedded_valkey import free_port
from limner_shared.db.accounts import keys
from tests.processes import COMMAND, Service, environment, eventually, responds

GUIDES: Final = Path(__file__).parents[2] / "docs" / "guides"
COMMENT: Final = re.compile(r"\s+# .*$")
BLOCK: Final = re.compile(r"^ *```bash\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
CONTINUED: Final = re.compile(r"\\\n\s*")
ASSIGNED: Final = re.compile(r"^(?:export )?([A-Z_0-9]+)=('[^']*'|\S*)(?:\s+|$)")
"""A variable before a command, or a setting in a line of its own."""
VERSION: Final = re.compile(r"(?<=\d)\.\d+$")
SERVERS: Final = ("serve", "up")
"""The commands of `limner` that run until they are stopped."""


def parts(line: str) -> tuple[dict[str, str], str]:
    """The variables that a line sets, and its command, which is empty for a setting."""
    variables: dict[str, str] = {}
    while assigned := ASSIGNED.match(line):
        variables[assigned[1]] = assigned[2].strip("'")
        line = line[assigned.end() :]
    return variables, line


def lines(guide: str) -> list[str]:
    """The lines of a guide that a reader would enter, without comments."""
    text = (GUIDES / f"{guide}.md").read_text("utf-8")
    found = [line for block in BLOCK.findall(text) for line in CONTINUED.sub("", block).splitlines()]
    return [line for each in found if (line := COMMENT.sub("", each).strip())]


def commands(guide: str) -> list[str]:
    """The commands of a guide, without the variables before them."""
    return [command for line in lines(guide) if (command := parts(line)[1])]


def program(command: str) -> str:
    """The name of a command's program, without folder and version; empty for a setting."""
    return VERSION.sub("", Path(next(iter(shlex.split(command)), "")).name)


class Operator:
    """Enters commands, and remembers what later ones need."""

    def __init__(self, service: Service, folder: Path, receiver_url: str) -> None:
        self._service = service
        self._folder = folder
        base = f"http://127.0.0.1:{service.settings.port}"
        self.names: dict[str, str] = {
            "https://pictures.example": base,
            "https://HOST": base,
            "https://shop.example/limner": receiver_url,
            "127.0.0.1:9100": f"127.0.0.1:{service.settings.metrics_port}",
            "/backups/": f"{folder}/backups-",
            "/etc/": f"{folder}/etc-",
            "/run/secrets/": f"{folder}/secrets-",
            "/var/lib/limner/blobs": service.settings.resolved_blob_url,
            "s3://pictures": (folder / "copied").as_uri(),
        }
        self._key: dict[str, str] = {}
        self._exported: dict[str, str] = {}

    def follow(self, guide: str, not_run: AbstractSet[str]) -> dict[str, str]:
        """Enter each line of a guide; returns what its commands print. A key is there to replace."""
        with self._service.database.write() as session:
            self.names["KEY_ID"] = keys.create(session, "acme", "a client").split("_")[1]
        self._exported.clear()
        entered = {line: parts(line)[1] for line in lines(guide)}
        return {command: self._enter(line) for line, command in entered.items() if program(command) not in not_run}

    def _enter(self, line: str) -> str:
        for name, meant in self.names.items():
            line = line.replace(name, meant)
        given, command = parts(line)
        if not command:
            self._exported |= given if line.startswith("export ") else {}
            return ""
        variables = self._service.settings.variables | self._key | self._exported | given
        first, *words = shlex.split(command)
        if first == "limner" and words[0] in SERVERS:
            return self._serve(words, variables)
        if first == "limner":
            code, printed = self._limner(words, variables)
        else:
            shell = ["bash", "-c", re.sub(r"^curl\b", "curl --fail-with-body --silent", command)]
            own = environment(self._service.settings) | variables
            done = subprocess.run(shell, env=own, capture_output=True, text=True, check=False)
            code, printed = done.returncode, done.stdout + done.stderr
        assert code == 0, f"{command}\n{printed}"
        self._remember(words, printed)
        return printed

    def _limner(self, words: list[str], variables: dict[str, str]) -> tuple[int, str]:
        """Run the command in this process, which has imported it."""
        if words[0] == "restore":  # into an empty installation
            empty = {f"LIMNER_{name}": "" for name in ("DATABASE_URL", "BLOB_URL")}
            variables |= empty | {"LIMNER_DATA_DIR": str(self._folder / "restored")}
        if words[0] == "top":
            words += ["--once", "--interval", "0.2"]
        words, target = (words[:-2], words[-1]) if ">" in words else (words, None)
        entered = CliRunner(env=variables).invoke(cli, words, input="y\n")  # where it asks
        if target:
            Path(target).write_text(entered.stdout)
        return entered.exit_code, entered.output

    def _serve(self, words: list[str], variables: dict[str, str]) -> str:
        """Start a server with these variables on a port of its own, and stop it once it responds."""
        port = free_port()
        variables |= {"LIMNER_PORT": str(port), "LIMNER_METRICS_PORT": "0"}
        if words[0] == "up":  # on an empty machine
            elsewhere = {"LIMNER_DATABASE_URL": "", "LIMNER_REDIS_URL": "", "LIMNER_BLOB_URL": ""}
            variables |= elsewhere | {"LIMNER_DATA_DIR": str(self._folder / "up")}
        log = self._folder / f"{words[0]}-{port}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", COMMAND, *words],
                env=environment(self._service.settings) | variables,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            eventually(lambda: responds(port) or process.poll() is not None, 120)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, log.read_text()
        finally:
            process.kill()
        return log.read_text()

    def _remember(self, words: list[str], printed: str) -> None:
        key = re.search(r"lmn_\w+", printed)
        if key and words[:2] == ["keys", "create"]:
            self._key["KEY"] = key[0]
        if key and words[:2] == ["own-keys", "create"]:
            self.names["KEY_ID"] = key[0].split("_")[1]
        for name, form in {"PAUSE_ID": r"pause_\w+", "we_…": r"\bwe_\w+", "whd_…": r"\bwhd_\w+"}.items():
            if found := re.search(form, printed):
                self.names[name] = found[0]
