"""A real Kubernetes on one machine for the tests: `make cluster`, `make cluster-down`, `make images`.

Standard library only, for it runs on the system's Python. Every process of the cluster lives in name spaces of its own (processes,
mounts, network): nothing of it can stay behind, and two clusters on one machine do not meet.
"""
