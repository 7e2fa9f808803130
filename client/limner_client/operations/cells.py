"""The cells behind a front door, and which of them a tenant gets."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from limner_shared.errors import ConfigurationError
from limner_shared.settings import CELL_PATTERN

Address = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9.*-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}$")]
"""`host:port`; an IPv6 address in brackets."""
PATH_PATTERN: Final = r"^/[\w./-]+$"
MAX_CELLS: Final = 200


class Cell(BaseModel):
    """One installation: its web servers, and whether new tenants may be placed in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    servers: tuple[Address, ...] = Field(min_length=1)
    takes_tenants: bool = True


class Cells(BaseModel):
    """A file that describes the front door and its cells."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    listen: tuple[Address, ...] = Field(min_length=1)
    certificate: str = Field(default="", pattern=rf"{PATH_PATTERN}|^$")
    default_cell: str = ""
    cells_per_tenant: int = Field(default=2, ge=1)
    max_connections: int = Field(default=20_000, ge=100)
    cells: dict[Annotated[str, StringConstraints(pattern=f"^{CELL_PATTERN}$")], Cell] = Field(
        min_length=1, max_length=MAX_CELLS
    )

    @model_validator(mode="after")
    def _check(self) -> Cells:
        if self.default_cell and self.default_cell not in self.cells:
            raise ValueError(f"default_cell: there is no cell {self.default_cell!r}")
        addresses = [address for cell in self.cells.values() for address in cell.servers]
        if twice := sorted({address for address in addresses if addresses.count(address) > 1}):
            raise ValueError(f"cells: {twice[0]} is listed twice; a server belongs to one cell")
        return self


def read_cells(file: Path) -> Cells:
    """Return the content of a TOML file. Raises ConfigurationError that names each mistake."""
    try:
        return Cells.model_validate(tomllib.loads(file.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{file}: {error}") from error
    except ValidationError as error:
        reasons = [f"{'.'.join(map(str, found['loc'])) or 'file'}: {found['msg']}" for found in error.errors()]
        raise ConfigurationError(f"{file}: {'; '.join(reasons)}") from error


def place(tenant: str, cells: Cells) -> tuple[str, ...]:
    """Return the cells of a tenant, its first choice first: its shuffle shard.

    Every combination of cells is equally likely. The same name gets the same cells while the open cells are the same; a
    new cell takes its share of the tenants from each of the others, and moves none between them.
    """
    open_cells = [name for name, cell in cells.cells.items() if cell.takes_tenants]
    return tuple(sorted(open_cells, key=lambda name: _score(tenant, name), reverse=True)[: cells.cells_per_tenant])


def _score(tenant: str, cell: str) -> bytes:
    """The weight of a cell for a tenant, by rendezvous hashing."""
    return hashlib.sha256(f"{cell}\0{tenant}".encode()).digest()
