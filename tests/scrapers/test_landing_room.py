"""The landing room: whole or nothing, the same bytes for ever, and damage that cannot pass for a price."""

import gzip
import json
import os
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from feeds import NOW, ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from scrapers import VERSION
from scrapers.errors import DamagedLandingError, IncompleteSnapshotError, PermanentError, TransientError
from scrapers.landing import EntryKind, LandedEntry, Landing
from scrapers.snapshot import Origin

BODY = b'{"price": 55.04}' * 500


def land(landing: Landing, body: bytes = BODY, *, at: datetime = NOW) -> LandedEntry:
    with landing.stage("aws", "ec2-us-east-1", fetched_at=at) as stage:
        stage.keep("page.json", body, url="https://a.example/p", params={"q": "1"}, status=200, headers={"etag": "e"})
        return stage.commit(change_key="v1")


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_snapshot_lies_where_the_layout_says(landing: Landing) -> None:
    entry = land(landing)
    # 12 hex of sha256(sha256(BODY) in hex); both computed with coreutils' sha256sum.
    assert files_below(landing.root) == [
        f"aws/ec2-us-east-1/2026-11-23/20261123T060000Z__{_CONTENT}/000.json.gz",
        f"aws/ec2-us-east-1/2026-11-23/20261123T060000Z__{_CONTENT}/envelope.json",
    ]
    assert entry.entry_id == entry.snapshot_id == f"aws/ec2-us-east-1/20261123T060000Z/{_CONTENT}"
    envelope = json.loads((entry.path / "envelope.json").read_text())
    assert envelope["scraper_version"] == VERSION
    assert envelope["payloads"][0]["byte_count"] == 8000
    assert envelope["payloads"][0]["params"] == {"q": "1"}
    assert gzip.decompress((entry.path / "000.json.gz").read_bytes()) == BODY


def test_a_landed_snapshot_reads_back(landing: Landing) -> None:
    land(landing)
    (entry,) = landing.entries("aws")
    snapshot = landing.open_snapshot(entry)
    assert (entry.kind, entry.origin, entry.change_key) == (EntryKind.SNAPSHOT, Origin.LIVE, "v1")
    assert snapshot.fetched_at == NOW
    assert snapshot.snapshot_id == entry.snapshot_id
    with snapshot.payloads[0].open() as stream:
        assert stream.read() == BODY


def test_times_are_stored_in_utc_whole_seconds(landing: Landing) -> None:
    kolkata = timezone(timedelta(hours=5, minutes=30))
    entry = land(landing, at=datetime(2026, 11, 23, 2, 15, 30, 999_999, tzinfo=kolkata))
    assert entry.fetched_at == datetime(2026, 11, 22, 20, 45, 30, tzinfo=UTC)
    assert entry.path.parent.name == "2026-11-22"
    with pytest.raises(ValueError, match="time zone"):
        land(landing, at=datetime(2026, 11, 23))  # noqa: DTZ001 - the mistake under test


def test_without_a_commit_nothing_is_left(landing: Landing) -> None:
    with landing.stage("aws", "ec2-us-east-1", fetched_at=NOW) as stage:
        stage.keep("page.json", BODY, url="u")
    assert files_below(landing.root) == []
    assert landing.entries("aws") == []


def test_landing_the_same_twice_changes_nothing(landing: Landing, tmp_path: Path) -> None:
    file = tmp_path / "offer.json"
    file.write_bytes(BODY)
    packed = tmp_path / "offer.json.gz"
    packed.write_bytes(gzip.compress(BODY))
    first = landing.land_files("aws", "ec2-us-east-1", [file], NOW, Origin.BUNDLED)
    before = {name: (landing.root / name).stat().st_mtime_ns for name in files_below(landing.root)}
    again = landing.land_files("aws", "ec2-us-east-1", [packed], NOW, Origin.BUNDLED)
    assert again == first
    assert {name: (landing.root / name).stat().st_mtime_ns for name in files_below(landing.root)} == before
    assert first.payloads[0].url == "file:offer.json"


def test_equal_bytes_make_equal_files(landing: Landing) -> None:
    """No time or name inside the gzip: two machines that land the same answer hold the same file."""
    first = land(landing)
    second = land(landing, at=NOW + timedelta(days=1))
    assert (first.path / "000.json.gz").read_bytes() == (second.path / "000.json.gz").read_bytes()


def test_a_cut_gzip_file_is_refused(landing: Landing, tmp_path: Path) -> None:
    file = tmp_path / "offer.json.gz"
    file.write_bytes(gzip.compress(BODY)[:-9])
    with pytest.raises(IncompleteSnapshotError, match=r"aws: offer\.json\.gz is not a whole gzip file"):
        landing.land_files("aws", "ec2-us-east-1", [file], NOW, Origin.REPLAY)
    file.write_bytes(b"plain text")
    with pytest.raises(IncompleteSnapshotError, match=r"offer\.json\.gz"):
        landing.land_files("aws", "ec2-us-east-1", [file], NOW, Origin.REPLAY)
    with pytest.raises(PermanentError, match=r"gone\.json cannot be landed: No such file"):
        landing.land_files("aws", "ec2-us-east-1", [tmp_path / "gone.json"], NOW, Origin.REPLAY)
    assert files_below(landing.root) == []


@pytest.mark.parametrize("name", ["../aws", "a/b", "", ".hidden", "UPPER", "a b", "x\n"])
def test_names_cannot_leave_the_room(landing: Landing, name: str) -> None:
    for source, dataset in ((name, "products"), ("oci", name)):
        with pytest.raises(PermanentError, match="cannot be a name in the landing room"):
            landing.stage(source, dataset, fetched_at=NOW)


def test_every_attempt_is_remembered_in_order(landing: Landing) -> None:
    snapshot = land(landing)
    with landing.stage("aws", "ec2-us-east-1", fetched_at=NOW + timedelta(days=1)) as stage:
        unchanged = stage.commit_unchanged(snapshot, change_key="v2")
    with landing.stage("aws", "ec2-us-east-1", fetched_at=NOW + timedelta(days=2)) as stage:
        stage.keep("half.json", b"{", url="u")
        failed = stage.commit_failed(TransientError("down\nfor \x1b[31mlong", source="aws"))
    with landing.stage("aws", "ec2-us-west-2", fetched_at=NOW) as stage:
        stage.keep("page.json", b"{}", url="u")
        other = stage.commit()

    assert sorted(landing.entries("aws"), key=lambda e: e.dataset) == [snapshot, unchanged, failed, other]
    assert landing.entries("aws", "ec2-us-east-1") == [snapshot, unchanged, failed]
    assert landing.entries("oci") == []
    assert (unchanged.kind, unchanged.snapshot_id, unchanged.change_key) == ("unchanged", snapshot.snapshot_id, "v2")
    assert (failed.kind, failed.snapshot_id, failed.error) == ("failed", None, "TransientError")
    assert failed.message == "aws: down for  [31mlong"
    assert files_below(failed.path) == ["envelope.json"]  # nothing of the half page
    assert landing.latest_snapshot("aws", "ec2-us-east-1") == snapshot
    assert landing.latest_confirmed("aws", "ec2-us-east-1") == unchanged
    assert len({entry.entry_id for entry in landing.entries("aws")}) == 4
    with pytest.raises(ValueError, match="holds no bytes"):
        landing.open_snapshot(failed)


def _damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    middle = len(data) // 2
    if how == "bit flip":
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    elif how == "cut":
        path.write_bytes(data[:-5])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "longer":
        path.write_bytes(data + b"x")
    elif how == "another price":
        path.write_bytes(gzip.compress(BODY.replace(b"55.04", b"05.04"), mtime=0))
    elif how == "gone":
        path.unlink()


@pytest.mark.parametrize("how", ["bit flip", "cut", "empty", "longer", "another price", "gone"])
def test_damaged_payloads_are_refused_on_reading(landing: Landing, how: str) -> None:
    entry = land(landing)
    _damage(entry.path / "000.json.gz", how)
    with (
        pytest.raises(DamagedLandingError, match=r"aws/ec2-us-east-1/2026-11-23/.*000\.json\.gz .*restore it"),
        landing.open_snapshot(entry).payloads[0].open() as stream,
    ):
        stream.read()


def test_no_flipped_bit_changes_what_is_read(landing: Landing) -> None:
    """All 8 x n single-bit damages: an error, or (header time and padding bits) exactly the bytes that were landed."""
    body = b'{"price": 55.04}'
    entry = land(landing, body)
    path = entry.path / "000.json.gz"
    whole = path.read_bytes()
    noticed = 0
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            with entry.payloads[0].open() as stream:
                assert stream.read() == body
        except DamagedLandingError:
            noticed += 1
    assert noticed > 8 * (len(whole) - 10)  # all but part of the ten header bytes and the padding


@pytest.mark.parametrize("how", ["cut", "empty", "gone"])
def test_damaged_envelopes_are_refused(landing: Landing, how: str) -> None:
    _damage(land(landing).path / "envelope.json", how)
    with pytest.raises(DamagedLandingError, match=r"20261123T060000Z__.* has no readable envelope\.json"):
        landing.entries("aws")


def test_an_envelope_with_other_hashes_is_refused(landing: Landing) -> None:
    entry = land(landing)
    envelope = json.loads((entry.path / "envelope.json").read_text())
    envelope["payloads"][0]["sha256"] = "0" * 64
    (entry.path / "envelope.json").write_text(json.dumps(envelope))
    with pytest.raises(DamagedLandingError, match="do not give its name"):
        landing.entries("aws")


def test_a_kill_between_write_and_rename_leaves_no_entry(landing: Landing) -> None:
    script = f"""
        import os, signal
        from datetime import UTC, datetime
        from pathlib import Path
        from scrapers.landing import Landing
        Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        with Landing(Path({str(landing.root)!r})).stage("aws", "ec2-us-east-1", fetched_at=datetime.now(UTC)) as stage:
            stage.keep("page.json", b"x" * 100000, url="u")
            stage.commit()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert files_below(landing.root) != []  # the leftover is there ...
    assert landing.entries("aws") == []  # ... and is no entry
    assert landing.remove_leftovers() == 1
    assert files_below(landing.root) == []
    assert land(landing) == landing.latest_snapshot("aws", "ec2-us-east-1")


def test_a_failure_at_any_step_leaves_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every open, flush and rename of a commit fails once; what is left is nothing or one whole snapshot."""
    real = {"fsync": os.fsync, "open": os.open, "rename": os.rename}
    step = 0
    while True:
        step += 1
        landing = Landing(tmp_path / str(step))
        calls = 0

        def counted(name: str, at: int = step) -> object:
            def call(*args: object, **kwargs: object) -> object:
                nonlocal calls
                calls += 1
                if calls == at:
                    raise OSError(28, "No space left on device")
                return real[name](*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(os, name, counted(name))
            try:
                land(landing)
                failed = False
            except OSError:
                failed = True
        entries = landing.entries("aws")
        for entry in entries:
            with entry.payloads[0].open() as stream:
                assert stream.read() == BODY
        assert land(landing) == landing.latest_snapshot("aws", "ec2-us-east-1")
        assert len(landing.entries("aws")) == 1
        if not failed:
            break
    assert step > 10  # payload, envelope, stage, rename, four directories: each was made to fail


@given(body=st.binary(max_size=5000), cuts=st.lists(st.integers(0, 5000), max_size=5), size=st.integers(1, 4000))
@settings(max_examples=60, deadline=None)
def test_any_bytes_in_any_pieces_come_back(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, cuts: list[int], size: int
) -> None:
    landing = Landing(tmp_path_factory.mktemp("landing"))
    bounds = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[start:end] for start, end in zip(bounds, bounds[1:], strict=False)]
    with landing.stage("aws", "any", fetched_at=NOW) as stage:
        stage.keep("b.bin", stage.write("b.bin", pieces), url="u")
        entry = stage.commit()
    with entry.payloads[0].open() as stream:
        back = b""
        while part := stream.read(size):
            back += part
    assert back == body
    assert entry.payloads[0].byte_count == len(body)


_CONTENT = "65d9e66bca28"
