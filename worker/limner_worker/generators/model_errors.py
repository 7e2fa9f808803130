"""Why a model does not load. The worker's log has the code and the message; the other models are served."""

from __future__ import annotations

from limner_shared.errors import CardError


class PickledWeights(CardError):
    """The weights are a pickle, which can run any code when it is read: convert them to safetensors."""

    code, title = "pickled_weights", "Pickled weights"


class DamagedWeights(CardError):
    """A file of the model is damaged or incomplete: copy or download it again."""

    code, title = "damaged_weights", "Damaged weights"


class AdapterMismatch(CardError):
    """A LoRA adapter was made for another base model: remove it from the card."""

    code, title = "adapter_mismatch", "Adapter mismatch"


class HubUnavailable(CardError):
    """The hub cannot be reached, and the model's files are not all in the cache: start the worker again later."""

    code, title, status, retryable = "hub_unavailable", "Hub unavailable", 503, True


class NotOnHub(CardError):
    """The hub has no such repository or revision: check `source` in the model card."""

    code, title = "not_on_hub", "Not on the hub"


class HubAccessDenied(CardError):
    """The hub does not let this worker read the repository: set `HF_TOKEN`."""

    code, title = "hub_access_denied", "Hub access denied"


class CacheFull(CardError):
    """The disk with the cache of downloaded models is full: free some space, then start the worker again."""

    code, title, status = "cache_full", "Cache full", 507


class CacheUnwritable(CardError):
    """The folder of downloaded models cannot be written to: correct its rights, or name another in `HF_HUB_CACHE`."""

    code, title = "cache_unwritable", "Cache unwritable"
