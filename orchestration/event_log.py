"""Dagster's event log in SQLite, without a wait for the disk at every event.

Dagster opens and closes its files for each of the run's 2,500 events, and each last close writes the log of SQLite back
with several syncs: 43 of the 107 seconds of a demo day on the machine that was measured (2026-11-29). One connection
more per file, held for the length of the run, leaves that to the end; and with synchronous = NORMAL a commit waits for
nothing. Neither can damage a file: what a power failure may take is the last events
(https://www.sqlite.org/pragma.html#pragma_synchronous). A DAGSTER_HOME on Postgres is not concerned.

Dagster also makes an engine per event, so SQLAlchemy asks SQLite of its version and compiles each statement anew; one
engine a file spares 6 of 60 seconds (2026-11-29).
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine, create_engine, event


@contextlib.contextmanager
def light_event_log(storage_module: Any) -> Iterator[None]:
    """For as long as it is open, SQLite files that this process opens through SQLAlchemy are synced less often.

    `storage_module`, which is Dagster's and makes an engine per event by its own name `create_engine`, gets one a file.
    """
    held: dict[str, sqlite3.Connection] = {}
    engines: dict[str, Engine] = {}

    def engine_of(url: str, **options: Any) -> Engine:
        return engines.get(url) or engines.setdefault(url, create_engine(url, **options))

    def ease(connection: Any, _record: object) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return
        connection.execute("pragma synchronous = normal")
        (path,) = [file for _, name, file in connection.execute("pragma database_list") if name == "main"]
        if path and path not in held and connection.execute("pragma journal_mode").fetchone() == ("wal",):
            held[path] = sqlite3.connect(path, check_same_thread=False)
            held[path].execute("select count(*) from sqlite_master").fetchall()  # only a reader holds the log open

    event.listen(Engine, "connect", ease)
    storage_module.create_engine = engine_of
    try:
        yield
    finally:
        storage_module.create_engine = create_engine
        event.remove(Engine, "connect", ease)
        for connection in held.values():
            connection.close()
