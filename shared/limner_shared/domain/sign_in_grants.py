"""Who may sign in through an identity provider, and with what scopes: the rules in `LIMNER_OIDC_GRANTS`. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from limner_shared.domain.access import Scope
from limner_shared.settings.oidc import Grant

SCOPES: Final = {
    "read": frozenset({Scope.READ}),
    "submit": frozenset({Scope.READ, Scope.SUBMIT}),
    "admin": frozenset({Scope.READ, Scope.SUBMIT, Scope.ADMIN}),
}
"""What a session may do, by the scope that a rule names."""


def grant_for(grants: Iterable[Grant], email: str | None, values: Collection[str]) -> Grant | None:
    """The first rule that fits someone with this verified e-mail address, or None, and these values of the claim.

    A value that begins with `@` fits no rule: it would pass for a domain.
    """
    domain = None if email is None else "@" + email.rpartition("@")[2].lower()
    names = {each for each in values if not each.startswith("@")}
    return next((each for each in grants if each.who == domain or each.who in names), None)
