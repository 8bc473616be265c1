"""Set-up: from a clone to running environments, with the system's Python and nothing else.

Promises: it looks at everything first and changes nothing while a problem stands; each problem is one sentence with its
remedy; an interrupted build is never taken for a finished one; a second run builds nothing.
"""
