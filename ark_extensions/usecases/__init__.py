"""The verbs of the platform: one function, one transaction. Plain and synchronous; the time is an argument.

Async callers run them in a thread, one hop a use case. They raise `domain.errors` and return `usecases.views`.
"""
