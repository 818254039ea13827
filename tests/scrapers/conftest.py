"""Fixtures for the scrapers' tests: a server that misbehaves, a clock that does not wait, the recorded samples."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from feeds import FakeClock

from scrapers.http import HttpClient
from scrapers.landing import Landing
from tests.fault_server import FaultServer

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def aws_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """boto3 finds these and no others: no file of this machine, and no role."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTNOTREAL00000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a made up secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for file in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(file, str(tmp_path / "absent"))
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def client(clock: FakeClock) -> HttpClient:
    """A client for the fault server that waits on the fake clock."""
    return HttpClient(
        frozenset({"127.0.0.1"}),
        timeout_seconds=(2, 2),
        sleep=clock.sleep,
        clock=clock.monotonic,
        now=clock.now,
    )


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path / "landing")


@pytest.fixture
def sample() -> Callable[[str], Path]:
    """Path of a recorded answer, which is not part of this repository."""

    def find(name: str) -> Path:
        path = ROOT.parent / "shared" / "samples" / name
        if not path.exists():
            pytest.skip(f"recorded sample {name} is not beside this repository")
        return path

    return find
