"""The demo world: dated price snapshots and a generator of serving logs whose truth is known (docs/demo.md)."""
