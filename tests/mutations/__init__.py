"""Deliberate breaks of the product, and whether the suite notices them: `make doubt`."""
