"""The rooms that run the day: settings, warehouse, readers, gates, and the Dagster definitions around them."""
