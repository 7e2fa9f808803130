"""A model's files from a hub: downloaded by one process, verified, and used from the cache without the hub."""

from __future__ import annotations

import errno
import glob
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import huggingface_hub
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from filelock import FileLock
from huggingface_hub import constants
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from limner_shared.domain.card_fields import Source
from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.telemetry import get_logger
from limner_worker.generators.diffusers.weights.weight_files import SUFFIX, adapter_weights
from limner_worker.generators.diffusers.weights.weight_variants import NO_VARIANT, remedy
from limner_worker.generators.model_errors import (
    CacheFull,
    CacheUnwritable,
    DamagedWeights,
    HubAccessDenied,
    HubUnavailable,
    NotOnHub,
    PickledWeights,
)
from limner_worker.generators.weight_files import weight_hashes

log = get_logger(__name__)

FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNWRITABLE: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
NO_SPACE: Final = "Not enough free disk space"
"""How huggingface_hub begins its warning before a file that is larger than the free space."""
NO_SAFETENSORS: Final = "necessary `safetensors` weights"
"""What diffusers says of a repository that has only other formats for a part of the pipeline."""
SAFETENSORS: Final = re.compile(r"[\w./-]+\.safetensors")
"""The names in its list of what the repository has."""
SHA256_DIGITS: Final = 64
ABANDONED_SECONDS: Final = 3600.0
"""Downloads write all the time: a part that has not been written to for this long was left by a process that died."""

Fetch = Callable[[bool], str]
"""Returns a snapshot's folder; given True, from the cache alone."""


def pipeline_files(source: Source) -> tuple[Path, dict[str, str]]:
    """Return the folder of a pipeline's files, and the SHA-256 of each weights file. Raises CardError."""

    def fetch(cached: bool) -> str:
        found = cast("Any", DiffusionPipeline).download(
            str(source.hub),
            revision=source.revision,
            variant=source.variant,
            use_safetensors=True,
            local_files_only=cached,
        )
        return str(found)

    return _verified(source, fetch)


def adapter_files(source: Source) -> Path:
    """Return the folder of a LoRA adapter's weights, of which no other file is downloaded. Raises CardError."""

    def fetch(cached: bool) -> str:
        names = _names(source, cached)
        # A cache of an earlier release of huggingface_hub has no list of the repository's files.
        wanted = "*" + SUFFIX if names is None else glob.escape(adapter_weights(names, str(source.hub)))
        return cast("Any", huggingface_hub).snapshot_download(
            str(source.hub), revision=source.revision, allow_patterns=[wanted], local_files_only=cached
        )

    return _verified(source, fetch)[0]


def _names(source: Source, cached: bool) -> list[str] | None:
    """Return the names of a repository's files; None if only the cache may be asked, and does not know them."""
    hub: Any = huggingface_hub
    try:
        list_files = hub.get_cached_repo_tree if cached else partial(hub.list_repo_tree, recursive=True)
        return [entry.path for entry in list_files(str(source.hub), revision=source.revision)]
    except CachedRepoTreeNotFoundError:
        return None


def fetch_files(card: ModelCard) -> list[str]:
    """Download and verify all that a card names on a hub; return the names. Raises CardError."""
    pipelines = [source for source in (card.source, card.refiner and card.refiner.source) if source and source.hub]
    adapters = [source for source in card.adapters.values() if source.hub]
    for source in pipelines:
        pipeline_files(source)
    for source in adapters:
        adapter_files(source)
    return [source.name for source in (*pipelines, *adapters)]


def _verified(source: Source, fetch: Fetch) -> tuple[Path, dict[str, str]]:
    """Return a snapshot whose weights are those that the hub has; what differs is downloaded once more."""
    folder = _snapshot(source, fetch)
    hashes = weight_hashes(folder)
    if damaged := _damaged(folder, hashes):
        log.warning("damaged files are downloaded again", source=source.name, files=damaged)
        for name in damaged:
            _forget(folder / name)
        folder = _snapshot(source, fetch)
        hashes = weight_hashes(folder)
        if damaged := _damaged(folder, hashes):
            raise DamagedWeights(f"{', '.join(damaged)}: what the hub sent is not what it announced, twice.")
    return folder, hashes


def _damaged(folder: Path, hashes: dict[str, str]) -> list[str]:
    """The weights whose content is not that of their blob. The cache names a blob of large files by its SHA-256."""
    links = [name for name in hashes if (folder / name).is_symlink()]  # file systems without links have copies
    blobs = {name: (folder / name).readlink().name for name in links}  # its blob may be a link to a shared one
    return [name for name, blob in blobs.items() if len(blob) == SHA256_DIGITS and blob != hashes[name]]


def _forget(file: Path) -> None:
    """Remove a file from the cache, with its blob."""
    for path in (file.resolve(), file.parent / file.readlink(), file):
        path.unlink(missing_ok=True)


def _snapshot(source: Source, fetch: Fetch) -> Path:
    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=str(source.hub), repo_type="model")
    try:
        if (found := _cached(source, fetch)) is not None:
            return found
        lock = Path(constants.HF_HUB_CACHE) / ".locks" / f"{folder.name}.limner.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):  # the other processes wait, and then find the files in the cache
            return _cached(source, fetch) or _download(source, fetch, folder)
    except Exception as error:
        raise _explained(error, source) from error


def _cached(source: Source, fetch: Fetch) -> Path | None:
    """Return the snapshot from the cache; None if it is not complete there, or no list of its files is."""
    try:
        huggingface_hub.get_cached_repo_tree(str(source.hub), revision=source.revision)
        return Path(fetch(True))
    except (CachedRepoTreeNotFoundError, OSError):
        return None


def _download(source: Source, fetch: Fetch, folder: Path) -> Path:
    """Download what is missing. Files that are complete stay in the cache whatever happens to the others."""
    for part in folder.glob("blobs/*.incomplete"):
        with suppress(OSError):  # another program may have removed it
            if time.time() - part.stat().st_mtime > ABANDONED_SECONDS:
                part.unlink()
    log.info("model is downloaded", source=source.name, revision=source.revision)
    started = time.monotonic()
    with warnings.catch_warnings():
        # Otherwise it would fill the disk, which others need too, before it fails.
        warnings.filterwarnings("error", message=NO_SPACE)
        try:
            found = Path(fetch(False))
        except Exception as error:
            if not isinstance(_explained(error, source), HubUnavailable):
                raise
            # A cache that an earlier release of huggingface_hub filled has no list of its files.
            found = Path(fetch(True))
    log.info("model was downloaded", source=source.name, seconds=round(time.monotonic() - started, 1))
    return found


def _explained(error: Exception, source: Source) -> CardError:
    """Return what the operator has to change, by the first cause that says it."""
    for cause in _causes(error):
        if reason := _reason_here(cause, source) or _reason_there(cause, source):
            return reason
    return HubUnavailable(
        f"{constants.ENDPOINT} cannot be reached, and the files of {source.hub} are not all in "
        f"{constants.HF_HUB_CACHE}: start the worker again later. ({list(_causes(error))[-1]})"
    )


def _reason_here(cause: BaseException, source: Source) -> CardError | None:
    """What is wrong on this machine or with the files."""
    return cause if isinstance(cause, CardError) else _reason_of_cache(cause, source) or _reason_of_files(cause, source)


def _reason_of_cache(cause: BaseException, source: Source) -> CardError | None:
    if (isinstance(cause, OSError) and cause.errno in FULL) or NO_SPACE in str(cause):
        return CacheFull(
            f"The disk of {constants.HF_HUB_CACHE} is full: free some space, or name another disk in HF_HUB_CACHE; "
            f"then start the worker again. Files that are complete were kept. ({cause})"
        )
    if isinstance(cause, OSError) and cause.errno in UNWRITABLE:
        return CacheUnwritable(
            f"Files of {source.hub} are missing in {constants.HF_HUB_CACHE}, and it cannot be written to: correct its "
            f"rights, or name another folder in HF_HUB_CACHE; then start the worker again. ({cause})"
        )
    return None


def _reason_of_files(cause: BaseException, source: Source) -> CardError | None:
    if NO_VARIANT in str(cause):
        return CardError(f"{source.hub} has no weights of the variant {source.variant}: correct variant in source.")
    if NO_SAFETENSORS in str(cause):
        if (advice := remedy(SAFETENSORS.findall(str(cause)), source)) is not None:
            return CardError(f"{source.hub}: {advice}.")
        return PickledWeights(
            f"{source.hub} has no safetensors for a part of the pipeline. Pickles are refused, because they can run "
            "any code when they are read: choose a revision with safetensors, or convert them."
        )
    return None


def _reason_there(cause: BaseException, source: Source) -> CardError | None:
    """What the hub refuses."""
    if isinstance(cause, GatedRepoError):
        return HubAccessDenied(_gated(source))
    if isinstance(cause, (RepositoryNotFoundError, RevisionNotFoundError, RemoteEntryNotFoundError)):
        private = "" if huggingface_hub.get_token() else ", or it is private and HF_TOKEN is not set"
        return NotOnHub(f"The hub does not have {source.hub} at {source.revision}{private}.")
    if isinstance(cause, HfHubHTTPError) and cause.response.status_code in (401, 403):
        return HubAccessDenied(f"The hub refuses the token in HF_TOKEN for {source.hub}: set a valid one.")
    return None


def _gated(source: Source) -> str:
    terms = f"accept its terms at {constants.ENDPOINT}/{source.hub}"
    if huggingface_hub.get_token():
        return f"{source.hub} is gated, and the account of the token in HF_TOKEN may not read it: {terms}."
    return f"{source.hub} is gated, and HF_TOKEN is not set: {terms}, and set HF_TOKEN to a token of that account."


def _causes(error: BaseException | None) -> Iterator[Any]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
