"""What is left out of the web image: nothing that its processes read."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from tests.unit.project.test_deploy import ROOT

from limner_web.pages.languages import LANGUAGES, read_catalog

SPEC = importlib.util.spec_from_file_location("deploy_prune", ROOT / "deploy" / "prune.py")
assert SPEC is not None
assert SPEC.loader is not None
pruning: Any = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(pruning)

KEPT = {
    *(f"babel/locale-data/{name}.dat" for name in ("root", "en", "en_GB", "de_AT", "zh_Hans_CN")),
    *("limner_web/pages/texts/de.po", "limner_web/pages/texts/zh.po"),
    *("c2pa/libs/libc2pa_c.so", "sqlalchemy/testing/config.py", "numpy/testing/__init__.py"),
    *("PIL/_webp.cpython-311-x86_64-linux-gnu.so", "pillow.libs/libwebp-51b0b3f7.so.7.2.0", "PIL/AvifImagePlugin.py"),
}
LEFT_OUT = {
    *(f"babel/locale-data/{name}.dat" for name in ("ja", "dz", "es_419")),
    *("PIL/_avif.cpython-311-x86_64-linux-gnu.so", "pillow.libs/libavif-c6062d5f.so.16.4.2", "numpy/f2py/src/x.txt"),
    *("numpy/_core/include/numpy/math.h", "numpy/random/mtrand.pyi", "google/api/http.proto"),
    *("c2pa/libs/libc2pa_c.rlib", "numpy/_core/lib/libnpymath.a", "numpy/tests/test_all.py", "x/__pycache__/x.pyc"),
}


def test_what_only_compilers_read_tests_locales_of_other_languages_and_compiled_modules_are_left_out(
    tmp_path: Path,
) -> None:
    for name in KEPT | LEFT_OUT:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    pruning.prune(tmp_path)
    assert {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()} == KEPT


def test_the_languages_of_the_pages_are_found_and_a_build_without_their_catalogs_ends(tmp_path: Path) -> None:
    assert {"en", *pruning.languages(ROOT / "web")} == set(LANGUAGES)
    assert [read_catalog(language).num_plurals > 0 for language in pruning.languages(ROOT / "web")] == [True] * 4
    with pytest.raises(SystemExit):
        pruning.languages(tmp_path)
