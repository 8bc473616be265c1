"""How a workspace becomes a running server: pure descriptions of it (sandbox, environment, file system) and the spawners."""
