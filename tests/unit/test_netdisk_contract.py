"""The netdisk's OpenAPI document: it is one, it holds every address of the service's own tables and no other, and bodies are read
by the models that it shows."""

from __future__ import annotations

import json

from openapi_spec_validator import validate

from ark_extensions.netdisk import api, api_kept, contents
from ark_extensions.netdisk.openapi import OPERATIONS, document

GROUPS = {"([0-9a-f]{16})": "{id}", "([A-Za-z0-9]{1,40})": "{id}", "(.+)": "{path}"}


def test_the_document_is_openapi_and_holds_every_address() -> None:
    made = json.loads(json.dumps(document()))
    validate(made)
    assert made["openapi"] == "3.1.0" and made["servers"] == [{"url": "/services/netdisk/api/v1"}]
    served = set()
    for pattern, handler in [*api.ROUTES, *api_kept.ROUTES, *contents.ROUTES]:
        path = pattern.removeprefix(api.API)
        for group, name in GROUPS.items():
            path = path.replace(group, name)
        methods = [m for m in ("GET", "POST", "PUT", "DELETE", "PATCH") if "_unimplemented" not in getattr(handler, m.lower()).__qualname__]
        served |= {(method, path) for method in methods}
    # one handler for two addresses: what makes tokens at /tokens does not at /tokens/{id}
    served -= {("GET", "/tokens/{id}"), ("POST", "/tokens/{id}")}
    assert {(row.method, row.path) for row in OPERATIONS} == served
    names = [operation["operationId"] for methods in made["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names)) == len(OPERATIONS)


def test_every_body_refuses_unknown_keys() -> None:
    schemas = document()["components"]["schemas"]
    for row in OPERATIONS:
        if row.body is not None:
            assert row.body.model_config["extra"] == "forbid"
            assert schemas[row.body.__name__]["additionalProperties"] is False
