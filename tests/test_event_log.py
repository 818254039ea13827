"""Fewer waits for the disk, and nothing lost by it."""

import sqlite3
from pathlib import Path
from types import ModuleType

from sqlalchemy import NullPool, create_engine, text

from orchestration.event_log import light_event_log


def test_the_log_of_sqlite_is_written_back_once_and_not_at_every_close(tmp_path: Path) -> None:
    """SQLite removes the -wal file when the last connection has written it back."""
    path, log = tmp_path / "events.db", tmp_path / "events.db-wal"
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as con:
        con.execute(text("pragma journal_mode=wal"))
        con.execute(text("create table events (n int)"))
        con.commit()
    with engine.begin() as con:
        con.execute(text("insert into events values (0)"))
    assert not log.exists(), "without light_event_log each close writes back"
    opener = ModuleType("opener")
    opener.create_engine = create_engine
    with light_event_log(opener):
        assert opener.create_engine("sqlite://") is opener.create_engine("sqlite://"), "one engine a file"
        for number in (1, 2, 3):
            with engine.begin() as con:
                con.execute(text(f"insert into events values ({number})"))
                assert con.execute(text("pragma synchronous")).scalar() == 1  # NORMAL
            assert log.exists()
    assert opener.create_engine is create_engine
    assert not log.exists()
    with sqlite3.connect(path) as again:
        assert again.execute("select sum(n) from events").fetchone() == (6,)
    with engine.connect() as con:
        assert con.execute(text("pragma synchronous")).scalar() == 2  # FULL, as before
