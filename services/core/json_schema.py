"""The JSON Schema of intent files (draft 2020-12), with the comments of the .proto files, for editors."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from services.core.formats import NAME
from services.core.proto_docs import doc
from services.core.references import FieldLike, form
from services.core.service import Services

_NAME: Final = {"type": "string", "pattern": f"^{NAME.pattern}$"}
_INTEGERS: Final = {FieldDescriptor.TYPE_UINT32: 32, FieldDescriptor.TYPE_UINT64: 64}
PATTERNS: Final = {
    "mac": "^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$",
    "interface": "^[0-9a-fA-F.:]+/[0-9]{1,3}$",
    "address": "^[0-9a-fA-F.:]+$",
    "prefix": "^[0-9a-fA-F.:]+(/[0-9]{1,3})?$",
    "name": f"^{NAME.pattern}$",
    "port_name": f"^{NAME.pattern}$",
    "duration": "^[0-9]+(ns|us|ms|s|m|h)$",
    "rate": "^[0-9]+(bps|kbps|Mbps|Gbps)$",
}
"""What an editor can hold a format to; the loader knows better."""


def schema(services: Services) -> dict[str, Any]:
    """The schema of one document: an object of any kind."""
    definitions: dict[str, Any] = {}
    objects = []
    for name, kind in sorted(services.kinds.items()):
        _message(kind.message.DESCRIPTOR, services, definitions)
        objects.append(
            {
                "title": name,
                "description": doc(kind.message.DESCRIPTOR),
                "type": "object",
                "properties": {
                    "kind": {"const": name},
                    "name": {**_NAME, "description": "What the object is called, unique among its kind."},
                    "labels": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 63}},
                    "spec": {"$ref": f"#/$defs/{name}"},
                },
                "required": ["kind", "name"],
                "additionalProperties": False,
            }
        )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An object of a card's intent",
        "oneOf": objects,
        "$defs": definitions,
    }


def _message(descriptor: Any, services: Services, definitions: dict[str, Any]) -> None:
    """Add the definition of a message, and those of the messages inside."""
    if descriptor.name in definitions:
        return
    definitions[descriptor.name] = {}
    properties = {field.json_name: _field(field, services, definitions) for field in descriptor.fields}
    required = [field.json_name for field in descriptor.fields if form(field).required]
    long: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    long |= {"required": required} if required else {}
    grammar = services.grammars.get(descriptor.full_name)
    description = doc(descriptor)
    if grammar is None:
        definitions[descriptor.name] = {"description": description, **long}
    else:
        short = {"type": "string", "description": grammar.pattern}
        definitions[descriptor.name] = {"description": description, "anyOf": [short, long]}


def _field(field: FieldLike, services: Services, definitions: dict[str, Any]) -> dict[str, Any]:
    rules = form(field)
    value = _value(field, services, definitions)
    if rules.keyed_by:
        # The key is the member's name, which the long form then doesn't repeat.
        result: dict[str, Any] = {"type": "object", "additionalProperties": value, "propertyNames": _NAME}
    elif field.is_repeated:
        result = {"type": "array", "items": value}
        result |= {"minItems": rules.least} if rules.least else {}
        result |= {"maxItems": rules.most} if rules.most else {}
    else:
        result = value
    if rules.assumed:
        result["default"] = int(rules.assumed) if field.type in _INTEGERS else rules.assumed
    return {"description": doc(field), **result}


def _value(field: FieldLike, services: Services, definitions: dict[str, Any]) -> dict[str, Any]:
    rules = form(field)
    if field.message_type is not None:
        _message(field.message_type, services, definitions)
        return {"$ref": f"#/$defs/{field.message_type.name}"}
    if field.type in _INTEGERS:
        high = rules.high or (1 << _INTEGERS[field.type]) - 1
        return {"type": "integer", "minimum": rules.low, "maximum": high}
    if field.type == FieldDescriptor.TYPE_BOOL:
        return {"type": "boolean"}
    if field.type == FieldDescriptor.TYPE_ENUM:
        return {"enum": [value.name.lower() for value in field.enum_type.values if value.number or not rules.required]}
    # Some texts look like numbers to YAML (a port, a protocol): an editor must take both.
    kinds: Any = ["string", "integer"] if rules.format in ("port_range", "protocol", "icmp_type", "punt") else "string"
    result: dict[str, Any] = {"type": kinds}
    if rules.format in PATTERNS:
        result["pattern"] = PATTERNS[rules.format]
    if rules.refers:
        result["x-refers"] = list(rules.refers)
    return result
