"""Writes docs/settings.md from the settings model, so that the page cannot lag behind the code (a test compares them).

Run `python docs/settings_page.py` from the project's root after changing a setting.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ark_extensions.settings import Settings

PAGE = Path(__file__).with_name("settings.md")
HOME = str(Path.home())

HEAD = """# Settings

<!-- written by docs/settings_page.py: change the model in ark_extensions/settings.py, then run it -->

All settings of an installation live in one file, `ark.yaml` in the state directory (`.ark/` unless you chose another with
`DIR=`; the environment variable `ARK_SETTINGS` names another file). A settings file says only what differs from the defaults:

```yaml
opening_credit: "50.00"
port: 8080
mirrors:
  pip_index_url: https://mirror.example.org/simple
```

Each setting can be overridden by an environment variable: `ARK_` and the name in capitals, two underscores before a nested
name (`ARK_PORT=8080`, `ARK_MIRRORS__PIP_INDEX_URL=…`). An unknown name is refused at the start, so a typing error cannot pass
unseen. Restart the platform after a change: `make down`, `make up`.
"""


def type_name(annotation: Any) -> str:
    """A reader's word for a type."""
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(type_name(part) for part in get_args(annotation) if part is not type(None)) + ", optional"
    if get_origin(annotation) is list:
        return "list of " + type_name(get_args(annotation)[0])
    if get_origin(annotation) is dict:
        return "map"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "group"
    return {str: "text", int: "number", float: "number", bool: "true or false", Path: "path"}[annotation]


def default_text(field: FieldInfo) -> str:
    """The default as it would be written in YAML; empty for none."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, BaseModel):
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text.replace(HOME, '~')}`" if text else ""


def rows(model: type[BaseModel]) -> list[str]:
    lines = ["| setting | type | default | what |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        assert field.description, f"{model.__name__}.{name} has no description"
        what = field.description[0].upper() + field.description[1:]
        lines.append(f"| `{name}` | {type_name(field.annotation)} | {default_text(field)} | {what} |")
    return lines


def groups(model: type[BaseModel]) -> list[tuple[str, type[BaseModel]]]:
    """The nested models of a model, with the name of the setting that holds each."""
    found = []
    for name, field in model.model_fields.items():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                found.append((name, part))
    return found


def page() -> str:
    lines = [HEAD, "## The settings", "", *rows(Settings)]
    for name, model in groups(Settings):
        lines += ["", f"## `{name}`", "", " ".join((model.__doc__ or "").split()), "", *rows(model)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
