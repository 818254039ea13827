"""What `retention` of ledger.yaml lets go, after a day that Dagster itself published."""
