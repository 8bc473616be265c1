"""Kubernetes' objects as the stand-in handles them: selectors, patches, refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

Object = dict[str, Any]


def refusal(status: int, reason: str, message: str) -> web.HTTPException:
    body = json.dumps({"kind": "Status", "status": "Failure", "code": status, "reason": reason, "message": message})
    kinds = {404: web.HTTPNotFound, 409: web.HTTPConflict, 403: web.HTTPForbidden, 410: web.HTTPGone}
    if status in kinds:
        return kinds[status](text=body, content_type="application/json")

    class Told(web.HTTPException):
        status_code = status

    return Told(text=body, content_type="application/json")


def selected(body: Object, query: Mapping[str, str]) -> bool:
    labels = body["metadata"].get("labels", {})
    for pair in filter(None, query.get("labelSelector", "").split(",")):
        key, exact, value = pair.partition("=")
        if key not in labels or (exact and labels[key] != value):
            return False
    for pair in filter(None, query.get("fieldSelector", "").split(",")):
        key, _, value = pair.partition("=")
        found: Any = body
        for part in key.split("."):
            found = found.get(part, {}) if isinstance(found, dict) else {}
        if found != value:
            return False
    return True


def patched(base: Object, change: Mapping[str, Any]) -> Object:
    """A JSON merge patch."""
    result = dict(base)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = patched(result.get(key) or {}, value)
        else:
            result[key] = value
    return result


def now_text() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
