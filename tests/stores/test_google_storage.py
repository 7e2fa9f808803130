"""Pictures in an emulator of Google Cloud Storage (fsouza/fake-gcs-server), with a service account's key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from limner_shared.errors import ConfigurationError, StorageFailed
from limner_shared.storage import buckets
from limner_shared.storage.blobs import Blobs
from limner_shared.storage.signed_urls import UrlSigner
from tests.processes import Service
from tests.stores.google_storage import google_storage, key_file
from tests.stores.objects import check_all_processes, check_copy, check_objects
from tests.stores.programs import Server

__all__ = ["google_storage"]
pytestmark = pytest.mark.long

URL = "gs://pictures/limner"


def test_objects_of_any_size_are_stored_listed_moved_and_deleted(google_storage: Server) -> None:
    check_objects(URL)


def test_a_signed_url_delivers_a_picture_with_its_media_type(google_storage: Server) -> None:
    digest = Blobs(URL).put(b"picture")
    signer = UrlSigner(URL)
    url = signer.sign("GET", f"{digest[:2]}/{digest}", 60)
    assert url.startswith(signer.origin)
    found = httpx.get(url, trust_env=False)
    assert (found.content, found.headers["Content-Type"]) == (b"picture", "image/png")
    assert httpx.get(url.partition("?")[0], trust_env=False).status_code == 401
    assert httpx.get(url.replace(digest[:8], digest[1:9]), trust_env=False).status_code == 401
    with pytest.raises(ConfigurationError, match="LIMNER_DELIVERY_ENDPOINT"):
        UrlSigner(URL, "https://pictures.example")


def test_wrong_keys_and_a_lost_server_are_failures_of_the_store(
    google_storage: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(buckets, "RETRIES", 0)
    right = Blobs(URL)
    digest = right.put(b"picture")
    server = UrlSigner(URL).origin
    another = key_file(tmp_path / "another.json", generate_private_key(public_exponent=65537, key_size=2048), server)
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(another))
    with pytest.raises(StorageFailed):
        Blobs(URL).put(b"picture")
    google_storage.kill()
    with pytest.raises(StorageFailed):
        right.get(digest)


def test_pictures_are_copied_from_a_folder_into_google_storage(google_storage: Server, tmp_path: Path) -> None:
    check_copy(URL, tmp_path)


def test_all_processes_draw_into_google_storage(
    google_storage: Server, start_service: Callable[..., Service], tmp_path: Path
) -> None:
    check_all_processes(URL, start_service, tmp_path)
