"""One page of /metrics: whole, text, and stored in one step."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from feeds import NOW

from scrapers.errors import IncompleteSnapshotError, PermanentError, SchemaDriftError, ScrapeError
from scrapers.http import HttpClient
from scrapers.usage.prometheus import land_scrape, scrape
from tests.fault_server import Answer, FaultServer

# Lines as vLLM 0.32 exposes them; the last has a timestamp, as exporters may add.
PAGE = b"""# HELP vllm:prompt_tokens_total Number of prefill tokens processed.
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",model_name="tiny-llama"} 44802.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="a \\"b\\" {c} d"} 105.0
vllm:prompt_tokens_created{engine="0",model_name="tiny-llama"} 1.7954561019511728e+09
vllm:e2e_request_latency_seconds_bucket{le="+Inf"} 3
process_start_time_seconds 1.7954559472e+09
up 1 1795456101951
go_gc NaN
"""


def test_a_page_comes_back_as_it_was(server: FaultServer, client: HttpClient) -> None:
    server.add("/metrics", Answer(PAGE).gzipped())
    assert scrape(server.url + "/metrics", client=client) == PAGE
    assert server.requests[0].headers["accept"] == "text/plain"


def test_the_client_of_a_scrape_speaks_to_this_replica_only(server: FaultServer) -> None:
    server.add("/metrics", Answer(PAGE))
    assert scrape(server.url + "/metrics") == PAGE
    server.add("/metrics", Answer.redirect("http://169.254.169.254/metrics"))
    with pytest.raises(PermanentError, match="refused"):
        scrape(server.url + "/metrics")


@pytest.mark.parametrize(
    "page",
    [
        b"up 1\r\n\r\nprocess_start_time_seconds 1.79e9\r\n",
        b'# TYPE a counter\na_total{b="c"} 5 # {trace_id="x{y}"} 0.67 1520879607.789\na_created 1.79e+09\n# EOF\n',
        b'a_total{b="c"} 5 1795456101.951\n# EOF',
    ],
)
def test_open_metrics_and_windows_line_ends_are_pages(page: bytes, server: FaultServer, client: HttpClient) -> None:
    server.add("/metrics", Answer(page))
    assert scrape(server.url + "/metrics", client=client) == page


def test_recorded_pages_are_taken(sample: Callable[[str], Path], server: FaultServer, client: HttpClient) -> None:
    pages = sorted(sample("usage/vllm/recorded_vllm_0.32.0_cpu/scrapes").glob("*.prom"))
    assert pages != []
    for number, page in enumerate(pages):
        server.add(f"/{number}", Answer(page.read_bytes()))
        assert scrape(f"{server.url}/{number}", client=client) == page.read_bytes()


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (b"<html></html>\n", SchemaDriftError, "HTML page"),
        (b'{"status": "ok"}\n', SchemaDriftError, "not Prometheus text"),
        (b"Not found\n", SchemaDriftError, "not Prometheus text at 'Not'"),
        (b"h1\n", SchemaDriftError, "not Prometheus text at 'h1'"),
        (b"up 1 # no exemplar\nup one\n", SchemaDriftError, "not Prometheus text at 'up'"),
        (b"up 1\nsecret{user=canary} prompt text here\n", SchemaDriftError, "not Prometheus text at 'secret'"),
        (b"\xff\xfe\n", SchemaDriftError, "not Prometheus text"),
        (PAGE[:-5], IncompleteSnapshotError, "the page is cut"),
        (b"", IncompleteSnapshotError, "the page is empty"),
        (b"# HELP x y\n", IncompleteSnapshotError, "holds no sample"),
    ],
)
def test_what_is_no_page_is_refused(
    server: FaultServer, client: HttpClient, body: bytes, error: type[ScrapeError], message: str
) -> None:
    server.add("/metrics", Answer(body))
    with pytest.raises(error, match=message) as caught:
        scrape(server.url + "/metrics", client=client)
    assert "canary" not in str(caught.value)


def test_every_cut_inside_a_line_is_noticed(server: FaultServer, client: HttpClient) -> None:
    """A number cut in half is a smaller number: 44802.0 would become 448."""
    for length in range(1, len(PAGE)):
        if PAGE[length - 1 : length] == b"\n":
            continue
        server.add("/metrics", Answer(PAGE[:length]))
        with pytest.raises(IncompleteSnapshotError):
            scrape(server.url + "/metrics", client=client)


def test_a_page_lies_where_the_reader_looks(tmp_path: Path) -> None:
    tokyo = timezone(timedelta(hours=9))
    path = land_scrape(tmp_path, "chat-70b-metrics", "10.0.0.7:8000", datetime(2026, 11, 24, 0, 30, tzinfo=tokyo), PAGE)
    expected = "metrics/chat-70b-metrics/10.0.0.7_8000/2026-11-23/20261123T153000Z.prom"
    assert path == tmp_path / expected
    assert path.read_bytes() == PAGE
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_reader_never_sees_half_a_page(tmp_path: Path) -> None:
    path = land_scrape(tmp_path, "chat", "r", NOW, PAGE)
    with path.open("rb") as reader:
        land_scrape(tmp_path, "chat", "r", NOW, b"up 1\n")
        assert reader.read() == PAGE  # the file it opened is still the old one, whole
    assert path.read_bytes() == b"up 1\n"


@pytest.mark.parametrize("replica", ["../../etc", "a/b", "..", "[::1]:8000", "", "x\x00y"])
def test_a_replica_cannot_choose_its_directory(tmp_path: Path, replica: str) -> None:
    path = land_scrape(tmp_path, "chat", replica, NOW, PAGE)
    assert path.parent.parent.parent == tmp_path / "metrics" / "chat"


def test_a_failed_write_leaves_the_page_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = land_scrape(tmp_path, "chat", "r", NOW, PAGE)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        land_scrape(tmp_path, "chat", "r", NOW, PAGE + b"x 1\n")
    assert path.read_bytes() == PAGE
    assert [p.name for p in path.parent.iterdir()] == [path.name]
