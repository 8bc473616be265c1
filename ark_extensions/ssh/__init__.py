"""The SSH gateway: one port, by which `ssh -J alice@gateway:2222 user@ws1` reaches the caller's own workspaces.

It exists apart from the console so that a session is not cut when a page's code changes. It promises: nothing is dialled before a
key's signature is verified; what is dialled comes from the platform's database and never from what the client names;
it carries ciphertext only, for the session's keys are between the client and the workspace; a deleted key or a sign-off
ends what it had opened within 5 seconds.
"""
