"""Readers of serving logs and metric scrapes: DuckDB in bulk, one allow-list of fields per format.

What is not on an allow-list is never parsed into a column, so prompts, replies, keys and addresses cannot reach a
table. A reader stages what it read into three temporary tables of the connection, which `warehouse.load_usage` moves
into the raw room once the gate has passed:

* `staged_records`: rows of the raw table of the kind (`orchestration/usage_kinds.py`), each with its `file_id`;
* `staged_files`: one row per file, as `raw.usage_files`;
* `staged_rejects`: what could not be used, counted by file, reason and field; never a value.
"""
