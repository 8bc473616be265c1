"""Measurements of the platform, each a ratio to a named baseline taken in the same run. Never asserted by timed tests."""
