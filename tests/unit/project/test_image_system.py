"""What the web image takes from its base: whole packages, at the places where they are."""

from __future__ import annotations

import importlib.util
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.project.test_deploy import ROOT

SPEC = importlib.util.spec_from_file_location("deploy_system", ROOT / "deploy" / "system.py")
assert SPEC is not None
assert SPEC.loader is not None
system: Any = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(system)

LDD = """/opt/x/_ssl.so:
\tlinux-vdso.so.1 (0x00007ffc)
\tlibssl.so.3 => /lib/x86_64-linux-gnu/libssl.so.3 (0x00007f)
\tlibavif-c6062d5f.so.16 => /opt/x/../x.libs/libavif-c6062d5f.so.16 (0x00007f)
\tlibm.so.6 => /usr/lib/x86_64-linux-gnu/libm.so.6 (0x00007f)
\tlibnone.so.1 => not found
\t/lib64/ld-linux-x86-64.so.2 (0x00007f)
"""
SEARCH = """libc6:amd64: /lib/x86_64-linux-gnu/libm.so.6
libssl3:amd64, libssl3-x: /usr/lib/x86_64-linux-gnu/libssl.so.3
"""
STATUS = """Package: apt
Status: install ok installed
Description: x

Package: libc6
Status: install ok installed

Package: libc6-dev
Status: install ok installed
"""
LIST = """/.
/usr/lib/x86_64-linux-gnu/libc.so.6
/usr/lib/x86_64-linux-gnu/gconv/BIG5.so
/usr/share/doc/libc6/copyright
/usr/share/doc/libc6/changelog.gz
/usr/share/man/man1/x.1.gz
diverted by x to: /usr/y
"""


def says(text: str) -> Callable[..., str]:
    def output(*_command: str, may_fail: bool = False) -> str:
        del may_fail
        return text

    return output


def test_libraries_of_the_system_are_found_and_those_that_a_wheel_bundles_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(system, "_output", says(LDD))
    assert system.linked([Path("/opt/x/_ssl.so")]) == {"libssl.so.3", "libm.so.6", "ld-linux-x86-64.so.2"}
    monkeypatch.setattr(system, "_output", says(SEARCH))
    assert system.owners(["libm.so.6", "libssl.so.3"]) == {"libc6:amd64", "libssl3:amd64", "libssl3-x"}


def test_the_list_of_packages_has_those_of_the_image_only() -> None:
    kept = system.status_of(STATUS, ["libc6:amd64", "tzdata"])
    assert kept == "Package: libc6\nStatus: install ok installed\n\n"


def test_manuals_and_character_sets_are_left_out_and_licences_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_output", says(LIST))
    assert [path.name for path in system.files_of(["libc6"])] == ["libc.so.6", "copyright"]


def test_files_keep_their_place_and_rights_also_through_a_linked_folder(tmp_path: Path) -> None:
    base, root = tmp_path / "base", tmp_path / "root"
    (base / "usr" / "bin").mkdir(parents=True)
    (base / "bin").symlink_to("usr/bin")
    (base / "usr" / "bin" / "dash").write_text("x")
    (base / "usr" / "bin" / "dash").chmod(0o755)
    (base / "usr" / "bin" / "sh").symlink_to("dash")
    (base / "tmp").mkdir()
    (base / "tmp").chmod(0o1777)
    for name in ("bin", "bin", "bin/sh", "bin/dash", "tmp", "usr/bin/sh"):
        system.copy(base / name, root, base)
    assert (root / "bin").readlink() == Path("usr/bin")
    assert (root / "bin" / "sh").readlink() == Path("dash")
    assert (root / "bin" / "sh").read_text() == "x"
    assert [stat.S_IMODE((root / name).stat().st_mode) for name in ("usr/bin/dash", "tmp")] == [0o755, 0o1777]
