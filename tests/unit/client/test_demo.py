"""The demo is a service of its own, whatever the user's environment names."""

from __future__ import annotations

from limner_client.local.demo import OF_THE_MACHINE, remove_other_settings
from limner_shared.settings import Settings


def test_the_demo_inherits_no_setting_that_may_lead_to_a_service_of_the_user() -> None:
    variables = {f"LIMNER_{name.upper()}": "x" for name in Settings.model_fields} | {
        "PATH": "/bin",
        "LIMNER_WINDOW": "1",
    }
    remove_other_settings(variables)
    assert set(variables) == {"PATH", *(f"LIMNER_{name}" for name in OF_THE_MACHINE)}
    assert not [name for name in OF_THE_MACHINE if "URL" in name]
