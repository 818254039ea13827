"""From findings to messages that people keep switched on: incidents, their ledger, and delivery (docs/alerts.md)."""
