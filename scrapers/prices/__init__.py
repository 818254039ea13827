"""Price sources: one module per provider, listed once in `registry`."""
