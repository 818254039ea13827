"""Pure maths of sizing and capacity: no I/O, no database, no orchestrator."""
