"""The tests, by what they need: unit (nothing), contract (adapters), integration (a running platform), browser (Chromium)."""
