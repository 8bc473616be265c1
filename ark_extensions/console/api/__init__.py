"""The REST API, version 1: one table of routes (`table`), from which dispatching, the OpenAPI document and the
authorization tests are made; pydantic models validate what comes in and describe what goes out."""
