"""Message catalogues, and the tool that keeps them complete."""
