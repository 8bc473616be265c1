"""Keeps the platform's processes running, and takes all of them down with it.

Standard library only: `make down` and a background start use it with the system's Python. It knows nothing of
what the processes do; `ark_extensions.cli` says which they are and when the platform answers.
"""
