"""The JSON Schema of the config, for an editor's completion."""

from typing import Any

from tamis.pipeline.steps.registry import step_class, verbs
from tamis.schemas.config import Config

__all__ = ["config_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of the config, with each step under its verb."""
    schema = {"$schema": DIALECT} | Config.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    branches: list[dict[str, Any]] = []
    for verb in verbs():
        step = step_class(verb)
        own = step.model_json_schema(ref_template="#/$defs/{model}")
        definitions |= own.pop("$defs", {})
        definitions[step.__name__] = own
        required = bool(own.get("required"))
        value: dict[str, Any] = {"$ref": f"#/$defs/{step.__name__}"}
        if not required:
            branches.append({"const": verb})
            value = {"anyOf": [value, {"type": "null"}]}
        branches.append(
            {"type": "object", "properties": {verb: value}, "required": [verb], "additionalProperties": False}
        )
    definitions.pop("StepConfig", None)
    schema["properties"]["steps"] = {"type": "array", "items": {"anyOf": branches}, "title": "Steps"}
    # A single path may be written without the list.
    path = definitions["InputConfig"]["properties"]["path"]
    definitions["InputConfig"]["properties"]["path"] = {"anyOf": [{"type": "string"}, path]}
    return schema
