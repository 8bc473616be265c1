"""How a deployment is put together: what the Hub loads, and what sets a machine up. Nothing is imported from here by the rest."""
