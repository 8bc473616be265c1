"""The service that charges running workspaces and stops those whose wallet has run out.

It exists so that money does not wait for a page or a stop: usage is settled every hour (a setting) and on start, and
wallets are watched every few seconds. It promises: a pass that is repeated, or run by two instances at once, posts
nothing twice (the charge's key is (run, metered-until)), and nothing is ever deleted for want of money.
"""
