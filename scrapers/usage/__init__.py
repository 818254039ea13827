"""Usage sources that are pulled over HTTP. Log files are read where they lie, by `orchestration.serving_logs`."""
