"""The parameters of `txt2img` and `img2img` that have no effect here, and the values of others that clients send for
"not used".
"""

from __future__ import annotations

from typing import Any, Final, cast

from limner_shared.domain.request_limits import refuse

IGNORED: Final = {
    # What the web UI does with its own output folder, and its name for the task.
    *("do_not_save_grid", "do_not_save_samples", "force_task_id", "save_images"),
    # What only matters together with a parameter that is refused.
    *("firstphase_height", "firstphase_width", "refiner_switch_at", "script_args", "subseed", "s_tmax", "s_tmin"),
    *("hr_additional_modules", "hr_cfg", "hr_checkpoint_name", "hr_negative_prompt", "hr_prompt", "hr_resize_x"),
    *("hr_resize_y", "hr_sampler_name", "hr_scale", "hr_scheduler", "hr_second_pass_steps", "hr_upscaler"),
    # SillyTavern sends the address and the credentials that it uses along with the parameters.
    *("auth", "url"),
    # A plugin for Photoshop sends what it remembers of a call.
    *("expanded_mask", "mask_expansion", "mode", "original_negative_prompt", "original_prompt", "selection_info"),
    *("prompt_shortcut_ui_dict", "uniqueDocumentId", "use_prompt_shortcut", "use_sharp_mask"),
    # An extension of Blender sends its own names of `denoising_strength` and `sampler_index` along.
    *("image_similarity", "sampler"),
}
NEUTRAL: Final[dict[str, tuple[Any, ...]]] = {
    "clip_skip": (0, 1),
    "comments": ({},),
    "enable_hr": (False,),
    "eta": (0, 1),
    "firstpass_image": ("",),
    "image_cfg_scale": (0, 1.5),
    "infotext": ("",),
    "initial_noise_multiplier": (0, 1),
    "inpainting_mask_invert": (0,),
    "latent_mask": ("",),
    "refiner_checkpoint": ("", "None"),
    "resize_mode": (0, 1),
    "restore_faces": (False,),
    "s_churn": (0,),
    "s_min_uncond": (0,),
    "s_noise": (1,),
    "script_name": ("", "None"),
    "seed_enable_extras": (False,),
    "seed_resize_from_h": (-1, 0),
    "seed_resize_from_w": (-1, 0),
    "subseed_strength": (0,),
    "tiling": (False,),
}
"""Parameters that are not supported, and the values that clients send for "not used". `null` always is one."""
UNITS: Final = "controlnet_units"
"""An older place for the units of the ControlNet extension, which clients fill beside the newer one."""
KEEP_OVERRIDES: Final = "override_settings_restore_afterwards"


def without_unused(body: dict[str, Any]) -> dict[str, Any]:
    """The parameters that are supported or unknown. Raises InvalidRequest for one that would be used."""
    for name, value in body.items():
        if name in NEUTRAL and value is not None and value not in NEUTRAL[name]:
            raise refuse(name, repr(value)[:60], [repr(neutral) for neutral in NEUTRAL[name]])
    if body.get("override_settings") and body.get(KEEP_OVERRIDES) not in (None, True):
        raise refuse(KEEP_OVERRIDES, repr(body[KEEP_OVERRIDES])[:60], ["True"])
    if _are_used(body.get(UNITS)) and body[UNITS] != _newer_units(body):
        raise refuse(UNITS, "units that are enabled", "the units in alwayson_scripts.controlnet.args")
    unused = IGNORED | NEUTRAL.keys() | {KEEP_OVERRIDES, UNITS}
    return {name: value for name, value in body.items() if name not in unused and value is not None}


def _are_used(units: object) -> bool:
    """Whether a unit may be enabled; what is no list of units counts as one."""
    if not isinstance(units, list):
        return units is not None
    return any(_fields(unit).get("enabled") is not False for unit in cast("list[object]", units))


def _newer_units(body: dict[str, Any]) -> object:
    return _fields(_fields(body.get("alwayson_scripts")).get("controlnet")).get("args")


def _fields(value: object) -> dict[str, Any]:
    """The fields of an object; none of anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
