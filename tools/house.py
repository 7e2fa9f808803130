"""Counts what the project's style limits, prints the figures and fails for each breach: `make lint` runs it.

Limits: 300 lines a file and 40 lines a function outside tests and benchmarks, 350 lines a file of tests, no import
cycle among modules, every constant of a module declared `Final`, and none of the words that our documentation avoids.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = ("client", "dispatcher", "shared", "training", "web", "worker")
MAX_FILE_LINES: Final = 300
MAX_TEST_FILE_LINES: Final = 350
MAX_FUNCTION_LINES: Final = 40
AVOIDED: Final = re.compile(
    r"\b(whoever|nobody|anybody|somebody|anew|so many|of so|half made|so often|for ever|whereby|thereof|lest"
    r"|(is|are) told of|hears? of|speaks? of)\b",
    re.IGNORECASE,
)
CONSTANT: Final = re.compile(r"_?[A-Z][A-Z0-9_]+")
PROSE: Final = (".py", ".md", ".toml", ".html", ".js", ".yml", ".sh")
OTHERS_WORDS: Final = {"vendor", "phrases", "follow_ups"}
"""Folders whose words are not ours: what people say is what the tagger is trained with."""


def tracked() -> list[Path]:
    """Every file that belongs to the project."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"],  # noqa: S607
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


def is_test(file: Path) -> bool:
    """Whether the file belongs to the tests' Python code."""
    return file.suffix == ".py" and file.relative_to(ROOT).parts[0] == "tests"


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The name and length of every function, in lines without its decorators."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def module_name(file: Path) -> str:
    """The dotted name of a module of a package."""
    parts = file.relative_to(ROOT).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.Module, known: set[str]) -> set[str]:
    """The project's modules that a module imports when it is itself imported."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in names}
    return found & known


def constants(tree: ast.Module) -> Iterator[str]:
    """The module's constants that are not declared `Final`; a name that a function sets with `global` is a variable."""
    variables = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and not ast.unparse(node.annotation).startswith(("Final", "TypeAlias")):
            names = {node.target.id} if isinstance(node.target, ast.Name) else set[str]()
        else:
            continue
        yield from sorted(name for name in names - variables if CONSTANT.fullmatch(name))


def cycles(graph: dict[str, set[str]]) -> list[str]:
    """One line for each module that imports itself through others."""

    def reaches(start: str) -> bool:
        seen: set[str] = set()
        open_ = list(graph[start])
        while open_:
            name = open_.pop()
            if name == start:
                return True
            if name not in seen:
                seen.add(name)
                open_ += graph[name]
        return False

    return [f"{name}: imports itself through other modules" for name in sorted(graph) if reaches(name)]


def main() -> int:
    """Print the figures; returns 1 if anything is over its limit."""
    files = tracked()
    code = [file for file in files if file.suffix == ".py" and file.relative_to(ROOT).parts[0] in PACKAGES]
    trees = {file: ast.parse(file.read_text("utf-8")) for file in code}
    breaches: list[str] = []
    longest: dict[str, int] = defaultdict(int)
    for file, tree in trees.items():
        where = file.relative_to(ROOT).as_posix()
        lines = len(file.read_text("utf-8").splitlines())
        longest["file"] = max(longest["file"], lines)
        if lines > MAX_FILE_LINES:
            breaches.append(f"{where}: {lines} lines, at most {MAX_FILE_LINES}")
        breaches += [f"{where}: declare the constant {name} as Final" for name in constants(tree)]
        for name, length in functions(tree):
            longest["function"] = max(longest["function"], length)
            if length > MAX_FUNCTION_LINES:
                breaches.append(f"{where}: {name} has {length} lines, at most {MAX_FUNCTION_LINES}")
    test_lengths = {file: len(file.read_text("utf-8").splitlines()) for file in files if is_test(file)}
    longest["test file"] = max(test_lengths.values())
    breaches += [
        f"{file.relative_to(ROOT)}: {lines} lines, at most {MAX_TEST_FILE_LINES}"
        for file, lines in test_lengths.items()
        if lines > MAX_TEST_FILE_LINES
    ]
    known = {module_name(file) for file in code}
    breaches += cycles({module_name(file): imports(tree, known) for file, tree in trees.items()})
    for file in files:
        if file.suffix in PROSE and file != Path(__file__) and not OTHERS_WORDS.intersection(file.parts):
            for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
                if match := AVOIDED.search(line):
                    breaches.append(f"{file.relative_to(ROOT)}:{number}: avoid {match.group()!r}")
    print("\n".join(breaches) if "-q" not in sys.argv else "", end="\n" if breaches else "")  # noqa: T201
    print(  # noqa: T201
        f"{len(code)} modules, {sum(len(file.read_text('utf-8').splitlines()) for file in code)} lines; longest file "
        f"{longest['file']}, longest function {longest['function']}, longest test file {longest['test file']}; "
        f"{len(breaches)} breaches"
    )
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
