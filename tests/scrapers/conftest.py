"""Fixtures for the scrapers' tests: a server that misbehaves, a clock that does not wait, the recorded samples."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from feeds import FakeClock

from scrapers.http import HttpClient
from scrapers.landing import Landing
from tests.fault_server import FaultServer

ROOT = Path(__file__).parents[2]


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
