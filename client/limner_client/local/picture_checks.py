"""What `limner doctor` finds about the picture store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from limner_client.local.findings import Check, State
from limner_shared.db.engine import Database
from limner_shared.db.tables import Image
from limner_shared.errors import LimnerError, ObjectLost, StorageFailed, StorageFull
from limner_shared.settings import Settings
from limner_shared.storage.blobs import Blobs
from limner_shared.storage_failures import ADVICE, reason_of

SAMPLE: Final = 20
BLOB_URL_ADVICE: Final = "Check LIMNER_BLOB_URL and its permissions."
LOST_ADVICE: Final = "Is it the store of this database (LIMNER_BLOB_URL)? `limner check` lists all that are lost."


def store_advice(reason: str) -> str:
    """What to do about a picture store that fails for a `StorageReason`."""
    return f"{ADVICE.get(reason, 'The log of the process has more.')} No picture is lost; the workers try again."


def picture_checks(settings: Settings) -> Iterator[Check]:
    """Write and read one object, and read the newest pictures of the database."""
    url = settings.resolved_blob_url
    try:
        blobs = Blobs(url)
        blobs.check()
    except (StorageFailed, StorageFull) as error:
        yield Check("pictures", State.FAIL, f"{url}: {error}", ADVICE.get(reason_of(error), BLOB_URL_ADVICE))
    except (LimnerError, OSError, ValueError) as error:
        yield Check("pictures", State.FAIL, f"{url}: {error}", BLOB_URL_ADVICE)
    else:
        yield Check("pictures", State.OK, f"{url} is writable")
        yield from _newest(settings, blobs)


def _newest(settings: Settings, blobs: Blobs) -> Iterator[Check]:
    """Whether the newest pictures are there; nothing where the database cannot tell, which another finding says."""
    digests = _newest_digests(settings)
    if not digests:
        return
    lost = 0
    for digest in digests:
        try:
            blobs.get(digest)
        except ObjectLost:
            lost += 1
        except (StorageFailed, StorageFull) as error:
            yield Check("newest pictures", State.FAIL, str(error), ADVICE.get(reason_of(error), BLOB_URL_ADVICE))
            return
    if lost:
        found = f"{lost} of the {len(digests)} newest are missing or damaged"
        yield Check("newest pictures", State.FAIL, found, LOST_ADVICE)
    else:
        yield Check("newest pictures", State.OK, f"the {len(digests)} newest are whole")


def is_made(url: str) -> bool:
    """Whether there can be a database: opening SQLite's would make an empty file."""
    return not url.startswith("sqlite") or sqlite_file(url).exists()


def sqlite_file(url: str) -> Path:
    """The file of an SQLite URL."""
    return Path(url.removeprefix("sqlite:///"))


def _newest_digests(settings: Settings) -> list[str]:
    if not is_made(settings.session_database_url):
        return []
    try:
        database = Database(settings.session_database_url)
    except (SQLAlchemyError, ImportError, LimnerError):
        return []
    try:
        with database.read() as session:
            newest = select(Image.sha256).order_by(Image.id.desc()).limit(SAMPLE)
            return list(dict.fromkeys(session.scalars(newest)))
    except SQLAlchemyError:
        return []
    finally:
        database.dispose()
