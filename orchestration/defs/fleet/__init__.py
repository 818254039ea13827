"""ledger.yaml in the raw room."""
