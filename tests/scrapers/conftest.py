"""Fixtures for the scrapers' tests: a server that misbehaves, a clock that does not wait, the recorded samples."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Before this directory's parent, where `scrapers` would be found as a namespace made of the tests.
sys.path.insert(0, str(ROOT))

from feeds import FakeClock  # noqa: E402

from scrapers.http import HttpClient  # noqa: E402
from scrapers.landing import Landing  # noqa: E402
from tests.fault_server import FaultServer  # noqa: E402


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
