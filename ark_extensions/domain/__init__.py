"""The rules: pure functions and small frozen values; standard library only, no clock, no I/O."""
