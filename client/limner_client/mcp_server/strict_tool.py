"""Tools that refuse an argument which they do not have; the MCP package's own ignore it silently."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from pydantic import ValidationError

from limner_shared.errors import InvalidRequest


class StrictTool(Tool):
    """A tool whose schema allows no further arguments, and whose refusals have our code."""

    def model_post_init(self, context: Any, /) -> None:
        """Forbid further arguments."""
        arguments = self.fn_metadata.arg_model
        arguments.model_config["extra"] = "forbid"
        arguments.model_rebuild(force=True)
        self.parameters = arguments.model_json_schema(by_alias=True)

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        """Run the tool. Raises ToolError, which names the arguments that are refused."""
        try:
            return await super().run(arguments, context, convert_result)
        except ToolError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            raise ToolError(f"{InvalidRequest.code}: {self._told(error.__cause__)}") from error.__cause__

    def _told(self, error: ValidationError) -> str:
        known = ", ".join(self.fn_metadata.arg_model.model_fields)
        parts: list[str] = []
        for found in error.errors(include_url=False):
            unknown = found["type"] == "extra_forbidden"
            why = f"this tool has no such argument; it has {known}" if unknown else found["msg"]
            parts.append(f"{'.'.join(map(str, found['loc']))}: {why}")
        return "; ".join(parts)
