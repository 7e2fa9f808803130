"""Settings that a tenant keeps under a name."""

from __future__ import annotations

from apiflask import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field

from limner_shared.db import presets
from limner_shared.db.tables import Preset
from limner_shared.db.views import as_datetime
from limner_shared.domain.given_names import MAX_NAME_CHARS, read_path_name
from limner_shared.domain.presets import PresetList, PresetSettings, PresetView
from limner_web.auth import tenant_id
from limner_web.services import get_services

bp = APIBlueprint("presets", __name__, url_prefix="/api/v1/presets", tag="Account")


class PresetName(BaseModel):
    """Another name of a preset."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=MAX_NAME_CHARS)


@bp.get("")
@bp.output(PresetList)
def list_presets() -> PresetList:
    """List presets.

    Returns the settings that you keep under a name. They are the same in every browser and for every key.
    """
    with get_services().database.read() as session:
        return PresetList(items=[_view(each) for each in presets.presets(session, tenant_id())])


@bp.put("/<preset>")
@bp.input(PresetSettings, arg_name="body")
@bp.output(PresetView)
def save_preset(preset: str, body: PresetSettings) -> PresetView:
    """Save a preset.

    Keeps these settings under the name, in place of those that it had. A name has 1 to 50 printable characters without
    a slash.
    """
    settings = body.model_dump(mode="json", exclude_defaults=True)
    with get_services().database.write() as session:
        return _view(presets.save(session, tenant_id(), read_path_name(preset, "preset"), settings))


@bp.put("/<preset>/name")
@bp.input(PresetName, arg_name="body")
@bp.output(PresetView)
def rename_preset(preset: str, body: PresetName) -> PresetView:
    """Rename a preset.

    Fails if another preset has the name.
    """
    name, new_name = read_path_name(preset, "preset"), read_path_name(body.name, "name")
    with get_services().database.write() as session:
        return _view(presets.rename(session, tenant_id(), name, new_name))


@bp.delete("/<preset>")
@bp.output({}, status_code=204)
def delete_preset(preset: str) -> str:
    """Delete a preset.

    Has no effect if there is no preset of this name.
    """
    with get_services().database.write() as session:
        presets.remove(session, tenant_id(), read_path_name(preset, "preset"))
    return ""


def _view(row: Preset) -> PresetView:
    settings = PresetSettings.model_validate(row.settings)
    return PresetView(name=row.name, settings=settings, updated_at=as_datetime(row.updated_at))
