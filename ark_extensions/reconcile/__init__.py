"""The service that compares what should be with what is, and mends it both ways.

It exists because anything can be killed at any moment: a run whose server is gone is closed at the last moment it was
seen (uncertainty bills less), a server that runs without a record is put on record, a released workspace's disk is
deleted when its time in the recycle bin is over, and a system disk left behind by a crash is removed. It promises
that states are true within 30 seconds, that it asks the Hub only about the workspaces in doubt, and that two
instances at once do no harm.
"""
