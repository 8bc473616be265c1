"""The service that stops workspaces whose auto-stop time or idle limit has come.

It exists apart from the console, so that a stop is never late because a page is slow. It promises: a stop is ordered
within 5 seconds of its moment at 1,000 workspaces; two instances at once do no harm, for the use case marks a
workspace as stopping in the same transaction that orders the stop.
"""
