"""What every test shares: no network but this machine's own, and a place to find the recorded samples."""

import os
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import hypothesis
import pytest

PROJECT_ROOT = Path(__file__).parents[1]
SAMPLES = PROJECT_ROOT.parent / "shared" / "samples"

# The same examples in every run. `--hypothesis-profile=default` draws new ones, to find what these do not.
hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.load_profile("same")

_connect = socket.socket.connect


def _loopback_only(self: socket.socket, address: tuple[str, int] | str) -> None:
    host = address[0] if isinstance(address, tuple) else None
    if self.family != socket.AF_UNIX and host not in {"127.0.0.1", "::1", "localhost"}:
        raise AssertionError(f"a test tried to reach {host}: tests run offline")
    _connect(self, address)


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _loopback_only)
        yield


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """A command run in this process tells its libraries where it works; the next test must not hear it."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture
def samples() -> Path:
    """The recorded real responses and logs, which are not part of the project."""
    if not SAMPLES.is_dir():
        pytest.skip("the recorded samples are not beside this checkout (../shared/samples)")
    return SAMPLES


# The files that take minutes, longest first: whichever starts last would keep one worker busy alone.
LONGEST = (
    "test_end_to_end.py",
    "test_cost_models.py",
    "test_price_history.py",
    "test_price_models.py",
    "test_inventory_models.py",
    "test_bills.py",
    "test_project_rules.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    counts = Counter(item.path for item in items)
    items.sort(key=lambda item: (places.get(item.path.name, len(places)), -counts[item.path]))
