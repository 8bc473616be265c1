"""Look into a file without downloading it: text as text, images as images, notebooks as a page without scripts.

Promises: nothing that a user's file says is run or loaded: text travels as JSON, a notebook's page is built from escaped text
and raster images only, and both stand in a sandbox with a policy that allows nothing else.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from html import escape
from typing import Any

from ark_extensions.domain.errors import Conflict

TEXT_BYTES = 256 * 1024
NOTEBOOK_BYTES = 20 * 1024 * 1024
IMAGE_BYTES = 64 * 1024 * 1024
CELLS_MAX = 1000
OUTPUT_CHARACTERS = 20_000
RENDERED_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'; base-uri 'none'"
IMAGE_POLICY = "sandbox; default-src 'none'; frame-ancestors 'none'"
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_STYLE = (
    "body{font:14px/1.5 system-ui,'Noto Sans SC',sans-serif;margin:16px;color:#1c2024;background:#fff}"
    "pre{margin:0;padding:8px;white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.45 ui-monospace,monospace}"
    ".c{border:1px solid #d5d9de;border-radius:4px;margin:0 0 12px}.s{background:#f5f6f8}.m pre{font:inherit}"
    ".o{border-top:1px solid #d5d9de}.e{color:#b3261e}.n{color:#606770;padding:8px}img{max-width:100%;padding:8px}"
)


def read_text(fd: int) -> tuple[str, bool]:
    """(the beginning of a text file, whether there is more). Bytes that are no UTF-8 are shown as �."""
    data = os.pread(fd, TEXT_BYTES + 1, 0)
    return data[:TEXT_BYTES].decode("utf-8", "replace"), len(data) > TEXT_BYTES


def render_notebook(fd: int) -> bytes:
    """A notebook as one HTML page; raises Conflict for what is none."""
    size = os.fstat(fd).st_size
    if size > NOTEBOOK_BYTES:
        raise Conflict("This notebook is too large for a preview. Open it in a workspace.")
    try:
        document = json.loads(os.pread(fd, size, 0).decode("utf-8", "replace"))
        cells = document["cells"][:CELLS_MAX]
        body = "".join(_cell(cell) for cell in cells if isinstance(cell, dict))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Conflict("This file is not a notebook that can be shown. Open it in a workspace.") from None
    return f'<!doctype html><meta charset="utf-8"><title>notebook</title><style>{_STYLE}</style>{body}'.encode("utf-8", "replace")


def _text(value: Any) -> str:
    joined = "".join(str(part) for part in value) if isinstance(value, list) else str(value or "")
    cut = joined[:OUTPUT_CHARACTERS] + ("\n…" if len(joined) > OUTPUT_CHARACTERS else "")
    return escape(_ANSI.sub("", cut))


def _cell(cell: dict[str, Any]) -> str:
    if cell.get("cell_type") != "code":
        return f'<div class="c m"><pre>{_text(cell.get("source"))}</pre></div>'
    outputs = [_output(output) for output in (cell.get("outputs") or [])[:100] if isinstance(output, dict)]
    return f'<div class="c"><div class="s"><pre>{_text(cell.get("source"))}</pre></div>{"".join(outputs)}</div>'


def _output(output: dict[str, Any]) -> str:
    kind = output.get("output_type")
    if kind == "stream":
        return f'<div class="o"><pre>{_text(output.get("text"))}</pre></div>'
    if kind == "error":
        return f'<div class="o e"><pre>{_text(output.get("traceback"))}</pre></div>'
    data = output.get("data")
    if not isinstance(data, dict):
        return ""
    for image in ("image/png", "image/jpeg"):
        if image in data and (encoded := _image(data[image])):
            return f'<div class="o"><img alt="" src="data:{image};base64,{encoded}"></div>'
    return f'<div class="o"><pre>{_text(data.get("text/plain"))}</pre></div>'


def _image(value: Any) -> str:
    """Base64 that is certainly nothing else."""
    joined = "".join(value) if isinstance(value, list) else value
    try:
        return base64.b64encode(base64.b64decode("".join(str(joined).split()), validate=True)).decode("ascii")
    except (binascii.Error, ValueError):
        return ""
