"""Makes `src/anacostia/types.py` from the OpenAPI document of a host.

    python -m generate_types http://127.0.0.1:8000/openapi.json
    python -m generate_types FILE --check

With `--check` it writes nothing, and fails if the file would change.
"""

from __future__ import annotations

import argparse
import json
import keyword
import sys
import textwrap
from pathlib import Path
from typing import Any
from urllib.request import urlopen

TARGET = Path(__file__).parent / "src" / "anacostia" / "types.py"
PREFIX = "#/components/schemas/"
WIDTH = 100

HEAD = '''"""The bodies of the API, as they are in its OpenAPI document.

`generate_types.py` makes this file: do not edit it. A later version of Anacostia may send members
that are not here.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict
'''


def generate(document: dict[str, Any]) -> str:
    """Returns the text of the module for a document."""
    schemas: dict[str, Any] = document["components"]["schemas"]
    parts = [HEAD]
    for name in _in_order(schemas):
        parts.append(_definition(name, schemas[name]))
    return "\n\n\n".join(part.strip() for part in parts) + "\n"


def _in_order(schemas: dict[str, Any]) -> list[str]:
    """Returns the names so that an alias comes before what is made of it, and a base before its
    subclasses. Members may name what comes later."""
    done: list[str] = []

    def add(name: str) -> None:
        if name in done:
            return
        for reference in _needs(schemas[name]):
            add(reference)
        done.append(name)

    for name in sorted(schemas):
        add(name)
    return done


def _needs(schema: dict[str, Any]) -> list[str]:
    if "allOf" in schema:
        return [_name(part) for part in schema["allOf"] if "$ref" in part]
    if "properties" in schema and not any(map(_is_odd, schema["properties"])):
        return []
    inner = [schema, *schema.get("oneOf", ()), *schema.get("properties", {}).values()]
    return [_name(part) for part in inner if "$ref" in part]


def _definition(name: str, schema: dict[str, Any]) -> str:
    about = schema.get("description", "")
    if "allOf" in schema:
        bases = [_name(part) for part in schema["allOf"] if "$ref" in part]
        own: dict[str, Any] = {"properties": {}, "required": []}
        for part in schema["allOf"]:
            own["properties"].update(part.get("properties", {}))
            own["required"] += part.get("required", [])
        return _typed_dict(name, bases, own, about)
    if "properties" in schema:
        return _typed_dict(name, [], schema, about)
    return f"{_comment(about)}{_alias(name, schema)}"


def _alias(name: str, schema: dict[str, Any]) -> str:
    words = schema.get("enum")
    line = f"{name} = {_type(schema)}"
    if words is None or len(line) <= WIDTH:
        return line
    members = "".join(f"    {json.dumps(word)},\n" for word in words)
    return f"{name} = Literal[\n{members}]"


def _typed_dict(name: str, bases: list[str], schema: dict[str, Any], about: str) -> str:
    properties, required = schema["properties"], schema.get("required", ())
    if any(map(_is_odd, properties)):
        # The name of a member is a word of Python.
        members = "".join(f'        "{key}": "{_type(value)}",\n' for key, value in properties.items())
        return f'{_comment(about)}{name} = TypedDict(\n    "{name}",\n    {{\n{members}    }},\n)'
    # In the order of the fields of the host's own type.
    always = {key: properties[key] for key in required}
    perhaps = {key: value for key, value in properties.items() if key not in required}
    text = ""
    if always and perhaps:
        # Python 3.10 has no `NotRequired`.
        text += _class(f"_{name}", bases, always, f"What is always in `{name}`.", total=True) + "\n\n\n"
        bases, always = [f"_{name}"], {}
    text += _class(name, bases, perhaps or always, about, total=not perhaps)
    return text


def _class(
    name: str, bases: list[str], members: dict[str, Any], about: str, *, total: bool
) -> str:
    head = ", ".join((bases or ["TypedDict"]) + ([] if total else ["total=False"]))
    lines = [f"class {name}({head}):", *_docstring(about or f"`{name}`.")]
    for key, value in members.items():
        lines.append("")
        lines += [f"    #: {line}".rstrip() for line in _wrapped(_about(value), WIDTH - 7)]
        lines.append(f"    {key}: {_type(value)}")
    return "\n".join(lines)


def _comment(about: str) -> str:
    return "".join(f"#: {line}".rstrip() + "\n" for line in _wrapped(about, WIDTH - 3))


def _docstring(about: str) -> list[str]:
    lines = _wrapped(about, WIDTH - 7)
    if len(lines) == 1 and len(lines[0]) <= WIDTH - 10:
        return [f'    """{lines[0]}"""']
    lines[0] = f'"""{lines[0]}'
    return [f"    {line}".rstrip() for line in [*lines, '"""']]


def _about(schema: dict[str, Any]) -> str:
    return str(schema.get("description", ""))


def _wrapped(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for paragraph in text.split("\n"):
        item = paragraph.startswith("- ")
        lines += textwrap.wrap(
            paragraph, width, subsequent_indent="  " if item else "", break_on_hyphens=False
        ) or [""]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _is_odd(name: str) -> bool:
    return keyword.iskeyword(name) or not name.isidentifier()


def _name(reference: dict[str, Any]) -> str:
    return str(reference["$ref"]).removeprefix(PREFIX).replace(".", "_")


def _type(schema: dict[str, Any]) -> str:
    """Returns the type of a value."""
    if "$ref" in schema:
        return _name(schema)
    if "enum" in schema:
        return f"Literal[{', '.join(map(json.dumps, schema['enum']))}]"
    for key in ("oneOf", "anyOf"):
        if key in schema:
            return _union([_type(part) for part in schema[key]])
    if "allOf" in schema:
        return _type(schema["allOf"][0])
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return _union([_type({**schema, "type": kind}) for kind in kinds])
    if kinds == "array":
        return f"list[{_type(schema.get('items', {}))}]"
    if kinds == "object":
        values = schema.get("additionalProperties")
        return f"dict[str, {_type(values) if isinstance(values, dict) else 'Any'}]"
    known = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
    return known.get(str(kinds), "Any")


def _union(types: list[str]) -> str:
    # A float that JSON has no number for comes as a word; the client makes a float of it.
    if "float" in types:
        types = [name for name in types if not name.endswith("Word") and not name.startswith("Literal")]
    some = [name for name in dict.fromkeys(types) if name != "None"]
    return " | ".join(some + (["None"] if "None" in types else []))


def _document(source: str) -> dict[str, Any]:
    if source.startswith(("http://", "https://")):
        with urlopen(source, timeout=60) as answer:
            found = json.load(answer)
    else:
        found = json.loads(Path(source).read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description="Makes types.py from the OpenAPI document of a host.")
    parser.add_argument("document", help="the address of /openapi.json, or a file")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file would change")
    options = parser.parse_args()
    text = generate(_document(options.document))
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    if options.check:
        print(
            f"{TARGET.name} is not what the document of the API says: run `scripts/test-python-client "
            f"types http://127.0.0.1:8000` against a host of this version",
            file=sys.stderr,
        )
        return 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
