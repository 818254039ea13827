"""Price snapshots, landed and loaded."""
