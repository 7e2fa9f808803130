"""`limner check`: every row has its object, every object its row, and the bytes are those that the row names.

Nothing is changed. The service may run: what is missing is looked up a second time, and an object that is younger than
an hour may still get its row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final

from pydantic import BaseModel

from limner_shared.db import queries
from limner_shared.db.engine import Database
from limner_shared.db.ledger import inputs_in_use
from limner_shared.db.schema import require_current
from limner_shared.errors import ObjectUnreadable
from limner_shared.settings import Settings
from limner_shared.storage.blobs import DIGEST_CHARS, FILES, FOLDERS, INPUTS
from limner_shared.storage.lost_objects import ObjectKind
from limner_shared.storage.object_store import Store
from limner_shared.storage.references import ObjectReference, named_still, read_object, references

YOUNG_SECONDS: Final = 3600.0
LISTED: Final = 1000
"""The most findings of each problem that a report lists; all are counted."""

Tell = Callable[[str], object]


class Problem(StrEnum):
    """What can be wrong with an object."""

    MISSING = "missing"
    """A row names it, and the store does not have it."""
    DAMAGED = "damaged"
    """Its bytes are not those that the row names."""
    UNREADABLE = "unreadable"
    """The store returns other objects and not this one, such as one that a bucket has archived."""
    UNREFERENCED = "unreferenced"
    """No row names it; the dispatcher's blob sweep deletes it."""


class Finding(BaseModel):
    """One object with a problem."""

    problem: Problem
    kind: ObjectKind
    key: str


class Report(BaseModel):
    """The result of a check."""

    consistent: bool = True
    """Whether every row has its object with the right bytes, which can be read."""
    objects: dict[str, int]
    """Objects that rows name, by kind."""
    bytes_read: int = 0
    young: int = 0
    """Objects without a row that are younger than an hour: a row may follow."""
    problems: dict[str, int]
    """The number of findings of each problem."""
    findings: list[Finding]
    """At most 1000 of each problem."""


class Check:
    """One run over a database and its picture store."""

    def __init__(self, settings: Settings, tell: Tell, young_seconds: float = YOUNG_SECONDS) -> None:
        url = settings.session_database_url
        require_current(url)
        self._database = Database(url)
        self._store = Store(settings.resolved_blob_url)
        self._tell = tell
        self._young_seconds = young_seconds
        self._problems: Counter[Problem] = Counter()
        self._objects: Counter[str] = Counter({kind.value: 0 for kind in ObjectKind})
        self.report = Report(objects={}, problems={}, findings=[])

    def run(self) -> Report:
        """Check everything. Raises StorageFailed and the errors of an unavailable database."""
        try:
            self._check_rows()
            self._check_objects()
        finally:
            self._database.dispose()
        self.report.objects = dict(self._objects)
        self.report.problems = {problem.value: self._problems[problem] for problem in Problem}
        self.report.consistent = not any(self._problems[each] for each in Problem if each is not Problem.UNREFERENCED)
        return self.report

    def _check_rows(self) -> None:
        with self._database.read() as session:
            pages = references(session)
            while page := next(pages, None):
                session.rollback()  # the store is read outside a transaction, which PostgreSQL would end after 6 s
                self._check_page(page)

    def _check_page(self, page: Sequence[ObjectReference]) -> None:
        suspects: list[tuple[ObjectReference, Problem]] = []
        for reference in page:
            self._objects[reference.kind.value] += 1
            try:
                data = read_object(self._store, reference)
            except ObjectUnreadable:
                suspects.append((reference, Problem.UNREADABLE))
                continue
            if data is None:
                suspects.append((reference, Problem.MISSING))
                continue
            self.report.bytes_read += len(data)
            if reference.is_damaged(data):
                suspects.append((reference, Problem.DAMAGED))
        if not suspects:
            return
        with self._database.read() as session:  # a row may have been deleted with its object
            named = set(named_still(session, [reference for reference, _ in suspects]))
        for reference, problem in suspects:
            if reference in named:
                self._found(problem, reference.kind, reference.key)

    def _check_objects(self) -> None:
        for folder in (*FOLDERS, INPUTS, FILES):
            kind = {INPUTS: ObjectKind.INPUT, FILES: ObjectKind.FILE}.get(folder, ObjectKind.PICTURE)
            for page in self._store.list(folder):
                stored = {PurePosixPath(key).name: (key, age) for key, age in page}
                for name in self._unreferenced(kind, sorted(stored)):
                    key, age = stored[name]
                    if age < self._young_seconds:
                        self.report.young += 1
                    else:
                        self._found(Problem.UNREFERENCED, kind, key)

    def _unreferenced(self, kind: ObjectKind, names: Sequence[str]) -> list[str]:
        names = [name for name in names if not name.startswith(".")]  # files that are being written
        with self._database.read() as session:
            if kind is ObjectKind.FILE:
                some = [ObjectReference(kind, name, "") for name in names]
                used = {each.name for each in named_still(session, some)}
            else:
                digests = [name for name in names if len(name) == DIGEST_CHARS]
                find = queries.pictures_in_use if kind is ObjectKind.PICTURE else inputs_in_use
                used = set(find(session, digests))
        return [name for name in names if name not in used]

    def _found(self, problem: Problem, kind: ObjectKind, key: str) -> None:
        self._problems[problem] += 1
        if self._problems[problem] <= LISTED:
            self.report.findings.append(Finding(problem=problem, kind=kind, key=key))
            self._tell(f"{problem}: {kind} {key}")
