"""Pictures in Azurite, Microsoft's own emulator of Azure Blob Storage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from limner_shared.errors import StorageFailed
from limner_shared.storage import buckets
from limner_shared.storage.blobs import Blobs
from limner_shared.storage.signed_urls import UrlSigner
from tests.processes import Service
from tests.stores.azurite import azurite
from tests.stores.objects import check_all_processes, check_copy, check_objects
from tests.stores.programs import Server

__all__ = ["azurite"]
pytestmark = pytest.mark.long

URL = "az://pictures/limner"


def test_objects_of_any_size_are_stored_listed_moved_and_deleted(azurite: Server) -> None:
    check_objects(URL)


def test_a_signed_url_delivers_a_picture_with_its_media_type(azurite: Server) -> None:
    digest = Blobs(URL).put(b"picture")
    signer = UrlSigner(URL)
    url = signer.sign("GET", f"{digest[:2]}/{digest}", 60)
    assert url.startswith(signer.origin)
    found = httpx.get(url, trust_env=False)
    assert (found.content, found.headers["Content-Type"]) == (b"picture", "image/png")
    assert httpx.get(url.partition("?")[0], trust_env=False).status_code in (401, 403, 404)


def test_wrong_keys_and_a_lost_server_are_failures_of_the_store(
    azurite: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "RETRIES", 0)
    right = Blobs(URL)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "YW5vdGhlcg==")
    with pytest.raises(StorageFailed):
        Blobs(URL).put(b"picture")
    digest = right.put(b"picture")
    azurite.kill()
    with pytest.raises(StorageFailed):
        right.get(digest)


def test_pictures_are_copied_from_a_folder_into_azure(azurite: Server, tmp_path: Path) -> None:
    check_copy(URL, tmp_path)


def test_all_processes_draw_into_azure(azurite: Server, start_service: Callable[..., Service], tmp_path: Path) -> None:
    check_all_processes(URL, start_service, tmp_path)
