"""The console: a hub service with the REST API (`api/`) and the pages (`pages/`), both thin doors over the use cases.

It exists apart from the Hub, so that a page never holds up a spawn. `python -m ark_extensions.console` runs it.
"""
