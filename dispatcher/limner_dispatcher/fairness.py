"""Fair order of tenants: deficit round robin by cost units. Pure policy: no clock, no I/O.

M. Shreedhar, G. Varghese: Efficient Fair Queuing Using Deficit Round-Robin, IEEE/ACM Transactions on Networking 4(3),
1996.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Costly(Protocol):
    """The part of a job that the policy uses."""

    @property
    def cost(self) -> int:
        """Cost units."""
        ...


J = TypeVar("J", bound=Costly)


@dataclass(slots=True)
class Backlog(Generic[J]):
    """A tenant's waiting jobs in order, read only as far as they are needed."""

    weight: float
    jobs: Iterator[J]
    allowed: int | None = None
    """How many of them the tenant's limits allow now; None: all."""
    _next: J | None = None

    def head(self) -> J | None:
        """The tenant's next job, or None."""
        if self.allowed is not None and self.allowed <= 0:
            return None
        if self._next is None:
            self._next = next(self.jobs, None)
        return self._next

    def take(self) -> None:
        """Remove the head."""
        self._next = None
        if self.allowed is not None:
            self.allowed -= 1


class FairShare:
    """Keeps, between rounds, the order of the tenants and the credit of each."""

    def __init__(self) -> None:
        self._turns: deque[str] = deque()
        self._credit: dict[str, float] = {}
        self._begun = False
        """Whether the tenant at the front has received its credit for this turn."""
        self._quantum = 0.0
        """The highest cost of a job since the last time that no tenant waited. It is the same for all tenants, or
        shares would not be by cost."""

    def choose(self, backlogs: Mapping[str, Backlog[J]], room: int) -> list[tuple[str, J]]:
        """Return the next `room` jobs, each with its tenant.

        A turn adds credit to a tenant by its weight, at weight 1 enough for the most expensive job seen, and subtracts
        the costs of its jobs; the rest is kept. A tenant without waiting jobs loses its turn and its credit.
        """
        for tenant in [tenant for tenant in self._turns if tenant not in backlogs]:
            self._leave(tenant)
        if not self._turns:
            self._quantum = 0.0
        for tenant in backlogs:
            if tenant not in self._credit:
                self._turns.append(tenant)
                self._credit[tenant] = 0.0
        chosen: list[tuple[str, J]] = []
        while self._turns and len(chosen) < room:
            tenant = self._turns[0]
            backlog = backlogs[tenant]
            job = backlog.head()
            if job is None:
                self._leave(tenant)
                continue
            if not self._begun:
                self._quantum = max(self._quantum, job.cost)
                self._credit[tenant] += self._quantum * backlog.weight
                self._begun = True
            if job.cost <= self._credit[tenant]:
                self._credit[tenant] -= job.cost
                backlog.take()
                chosen.append((tenant, job))
            else:
                self._turns.rotate(-1)
                self._begun = False
        return chosen

    def _leave(self, tenant: str) -> None:
        if self._turns[0] == tenant:
            self._begun = False
        self._turns.remove(tenant)
        del self._credit[tenant]
