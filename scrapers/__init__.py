"""The outside world: HTTP, formats, landing files. Knows no database, no orchestrator, no environment."""

VERSION = "0.1.0"
"""Written into every envelope, so that a wrong fetch can be traced to the code that made it."""
