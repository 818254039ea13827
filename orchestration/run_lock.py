"""`data/run.lock`: one run at a time, and nothing is pruned under it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from orchestration.settings import Settings


class RunInProgressError(Exception):
    """Another run, or a prune, works on the same data."""


@contextmanager
def run_lock(settings: Settings) -> Iterator[None]:
    """Holds the lock: a second run on the same data would wait for each table, and mix its days with ours.

    Raises:
        RunInProgressError: another process holds it.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with (settings.data_dir / "run.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunInProgressError(f"another run is working on {settings.data_dir}; wait for it to end") from None
        yield
