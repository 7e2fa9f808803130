"""A SQLite disk that is full to the last byte is cleaned: retention makes room with the space that was kept for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from limner_dispatcher.disk_reserve import RESERVE_BYTES
from limner_shared.db.tables import Image
from tests.distributed.full_disk_cleaning import cleaned_installation
from tests.ended_jobs import count
from tests.processes import eventually
from tests.small_disks import fill, needs_root, small_disk

pytestmark = [pytest.mark.long, needs_root]


@pytest.mark.parametrize("kept", ["keep_jobs_days", "keep_images_days"])
def test_what_is_past_its_retention_is_deleted_from_a_full_disk_and_new_jobs_are_accepted(
    tmp_path: Path, redis_url: str, kept: str
) -> None:
    with (
        small_disk(tmp_path / "disk", megabytes=5 * RESERVE_BYTES >> 20) as disk,
        cleaned_installation(f"sqlite:///{disk / 'limner.db'}", disk / "blobs", redis_url) as on,
    ):
        reserve = disk / "limner.db.reserve"
        on.draw()
        on.clean()
        assert reserve.exists(), "space is set aside while there is some"
        on.keep_days(**{kept: 7})
        fill(disk / "ballast")
        eventually(lambda: on.is_full)
        for _ in range(10):
            on.clean()
        assert count(on.database, Image) == 0
        assert not [file for file in (disk / "blobs").rglob("*") if file.is_file()], "their pictures are deleted too"
        assert not on.is_full
        (disk / "ballast").unlink()
        on.clean()
        assert reserve.exists(), "there is space to set aside again"
