"""A Prometheus server that answers well, answers in part, or misbehaves; over real sockets."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from feeds import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from scrapers.http import HttpClient
from scrapers.usage import prometheus_api
from scrapers.usage.prometheus_api import LandedWindow, PullOutcome, Server, basic, landed_windows, pull
from tests.fault_server import Answer, FaultServer, Request

START = datetime(2026, 11, 23, 5, tzinfo=UTC)
NOW = datetime(2026, 11, 23, 6, 30, 20, tzinfo=UTC)  # two windows: 05:00 to 06:00, and 06:00 to 06:29
HOUR = timedelta(hours=1)
QUERY, QUERY_RANGE = "/prom/api/v1/query", "/prom/api/v1/query_range"
LABELS = {
    "__name__": "vllm:prompt_tokens_total",
    "engine": "0",
    "model_name": "tiny-llama",
    "instance": "10.0.0.7:8000",
    "pod": "vllm-0",
    "namespace": "llm",
    "job": "vllm",
}


def matrix(*series: tuple[dict[str, str], list[Any]], **envelope: object) -> Answer:
    result = [{"metric": labels, "values": values} for labels, values in series]
    return Answer.json({"status": "success", "data": {"resultType": "matrix", "result": result}, **envelope})


def refusal(kind: str, message: str, status: int = 422) -> Answer:
    return Answer.json({"status": "error", "errorType": kind, "error": message}, status=status)


def at(moment: datetime) -> float:
    return moment.timestamp()


@pytest.fixture
def asked(server: FaultServer) -> Server:
    return Server(server.url + "/prom/", ("vllm:prompt_tokens_total", "vllm:generation_tokens_total"))


@pytest.fixture
def run(asked: Server, tmp_path: Path, client: HttpClient) -> Callable[..., PullOutcome]:
    def pull_once(now: datetime = NOW, look_back: timedelta = HOUR, **changes: Any) -> PullOutcome:
        return pull(replace(asked, **changes), tmp_path, "cluster", now=now, look_back=look_back, client=client)

    return pull_once


def content(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def landed_files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def test_samples_land_as_they_were_answered(
    server: FaultServer, run: Callable[..., PullOutcome], tmp_path: Path
) -> None:
    values = [[at(START) + 12.345, "44802"], [at(START) + 27.345, "4.4802e+04"], [at(START) + 42.345, "NaN"]]
    server.add(QUERY, matrix((LABELS, values)), matrix())
    assert run() == PullOutcome(asked=2, landed=2)
    first, second = landed_windows(tmp_path, "cluster")
    assert first.path.relative_to(tmp_path).as_posix() == (
        "prometheus/cluster/2026-11-23/20261123T050000Z_20261123T060000Z__20261123T063020Z__3.jsonl.gz"
    )
    head, series, foot = content(first.path)
    assert (head["asked"]["start"], head["asked"]["end"]) == ("2026-11-23T05:00:00+00:00", "2026-11-23T06:00:00+00:00")
    assert series == {"metric": LABELS, "values": values}
    assert foot == {"answered": {"samples": 3, "is_exact": True}}
    # Asked and answered "nothing": the file is there, and holds no series.
    assert (second.start, second.end, second.sample_count) == (
        START + HOUR,
        datetime(2026, 11, 23, 6, 29, tzinfo=UTC),
        0,
    )
    assert len(content(second.path)) == 2


def test_the_query_asks_for_raw_samples_whole_or_not_at_all(
    server: FaultServer, run: Callable[..., PullOutcome]
) -> None:
    server.add(QUERY, matrix((LABELS, [[at(START), "1"]])), matrix())
    run(matchers='namespace="llm"', headers={"X-Scope-OrgID": "team-a"})
    counters, starts = server.requests[:2]
    assert counters.query["query"] == (
        '{__name__=~"vllm:prompt_tokens_total|vllm:generation_tokens_total",namespace="llm"}[3600s]'
    )
    assert counters.query["time"] == f"{int(at(START)) + 3599}.999"
    assert (counters.query["partial_response"], counters.query["deny_partial_response"]) == ("false", "1")
    assert counters.query["max_source_resolution"] == "0"
    assert counters.headers["x-scope-orgid"] == "team-a"
    # Of every exporter's process start only those of the targets that count tokens.
    assert starts.query["query"] == (
        '{__name__=~"process_start_time_seconds",instance=~"10\\\\.0\\\\.0\\\\.7:8000",namespace="llm"}[3600s]'
    )


def test_the_ends_of_a_window_are_the_same_for_old_and_new_servers(
    server: FaultServer, run: Callable[..., PullOutcome], tmp_path: Path
) -> None:
    """Prometheus 2 gives the left end of a range too: here a millisecond before the window begins."""
    begin, end = at(START), at(START + HOUR)
    values = [[begin - 0.001, "1"], [begin, "2"], [end - 0.001, "3"], [end, "4"]]
    server.add(QUERY, matrix((LABELS, values)), matrix())
    run()
    assert content(landed_windows(tmp_path, "cluster")[0].path)[1]["values"] == [[begin, "2"], [end - 0.001, "3"]]


def test_only_allow_listed_labels_and_families_reach_disk(
    server: FaultServer, run: Callable[..., PullOutcome], tmp_path: Path
) -> None:
    """The labels are those of LiteLLM's and Kubernetes' metrics; a server may also answer with what nobody asked."""
    private = {**LABELS, "user_email": "CANARY@example.com", "hashed_api_key": "CANARY", "client_ip": "CANARY"}
    other = {**LABELS, "__name__": "litellm_CANARY_total"}
    point = [[at(START), "1"]]
    server.add(QUERY, matrix((private, point), (other, point)), matrix())
    run()
    for path in landed_files(tmp_path):
        assert b"CANARY" not in gzip.decompress(path.read_bytes())
    assert content(landed_windows(tmp_path, "cluster")[0].path)[1]["metric"] == LABELS


def test_a_server_without_raw_answers_is_asked_by_steps(
    server: FaultServer, run: Callable[..., PullOutcome], tmp_path: Path
) -> None:
    server.add(QUERY, refusal("bad_data", "a range vector is no result here", 400))
    server.add(QUERY_RANGE, matrix((LABELS, [[at(START) + 30, "7"]])), matrix())
    assert run(step_seconds=30).landed == 2
    first = next(request for request in server.requests if request.path == QUERY_RANGE)
    assert first.query["query"].startswith("last_over_time({")
    assert first.query["query"].endswith("[30s])")
    assert (first.query["start"], first.query["end"]) == (f"{at(START) + 30:.3f}", f"{at(START + HOUR):.3f}")
    assert first.query["step"] == "30"
    assert sum(request.path == QUERY for request in server.requests) == 1  # found out once
    assert content(landed_windows(tmp_path, "cluster")[0].path)[-1]["answered"]["is_exact"] is False


def test_too_many_samples_are_asked_in_smaller_pieces(
    server: FaultServer, run: Callable[..., PullOutcome], tmp_path: Path
) -> None:
    """The server takes 20 minutes of one family at a time; of it there is one sample a minute."""

    def answer(request: Request) -> Answer:
        selector, _, seconds = request.query["query"].rstrip("s]").partition("}[")
        end = round(float(request.query["time"]) + 0.001)
        if int(seconds) > 1200:
            return refusal("execution", "query processing would load too many samples into memory in query execution")
        if "prompt" not in selector:
            return matrix()
        return matrix(
            (LABELS, [[second, str(second)] for second in range(end - int(seconds), end) if second % 60 == 0])
        )

    server.respond(QUERY, answer)
    assert run().failure is None
    window = landed_windows(tmp_path, "cluster")[0]
    series = [line for line in content(window.path) if "metric" in line]
    assert len(series) == 4  # quarters of an hour
    seen = [value for line in series for value, _ in line["values"]]
    assert seen == [at(START) + 60 * minute for minute in range(60)]
    assert window.sample_count == 60


def test_where_the_smallest_window_is_too_much_families_are_asked_apart(
    server: FaultServer, run: Callable[..., PullOutcome], tmp_path: Path
) -> None:
    def answer(request: Request) -> Answer:
        if "|" in request.query["query"]:
            return refusal("execution", "the query hit the max number of series limit")
        return matrix()

    server.respond(QUERY, answer)
    assert run(now=START + timedelta(minutes=3), look_back=timedelta(minutes=1)).failure is None
    server.add(QUERY, refusal("execution", "exceeds the limit"))
    outcome = run(now=START + timedelta(hours=2, minutes=3), look_back=timedelta(minutes=1))
    assert outcome.failure is not None
    assert "exceeds the limit" in outcome.failure


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_named_and_not_tried_again(
    server: FaultServer, run: Callable[..., PullOutcome], tmp_path: Path, status: int
) -> None:
    server.add(QUERY, Answer(b"<html>no</html>", status=status))
    outcome = run(headers={"Authorization": "Bearer CANARY-token"}, credentials="PROM_TOKEN")
    assert outcome.failure is not None
    assert f"answered {status}: check PROM_TOKEN" in outcome.failure
    assert "CANARY" not in outcome.failure
    assert len(server.requests) == 1
    assert landed_files(tmp_path) == []


def test_a_bad_query_says_why_and_quotes_no_credential(
    server: FaultServer, run: Callable[..., PullOutcome], tmp_path: Path
) -> None:
    bad = refusal("bad_data", "parse error with Bearer CANARY-token and CANARY-token", 400)
    server.add(QUERY, bad)
    server.add(QUERY_RANGE, bad)
    outcome = run(headers={"Authorization": "Bearer CANARY-token"}, credentials="PROM_TOKEN")
    assert outcome.failure is not None
    assert "refuses the query: bad_data: parse error" in outcome.failure
    assert "CANARY" not in outcome.failure
    assert landed_files(tmp_path) == []


def test_a_busy_server_is_given_the_time_it_asks_for(
    server: FaultServer, run: Callable[..., PullOutcome], clock: FakeClock
) -> None:
    busy = Answer(b'{"status":"error","errorType":"timeout"}', status=503, headers={"Retry-After": "7"})
    server.add(QUERY, busy, busy, matrix())
    assert run().failure is None
    assert clock.sleeps == [7.0, 7.0]


INCOMPLETE = {
    "thanos lost a store": (matrix((LABELS, [[at(START), "1"]]), warnings=["no answer from a store"]), "lack samples"),
    "vmselect lost a node": (matrix((LABELS, [[at(START), "1"]]), isPartial=True), "isPartial"),
    "cut body": (matrix((LABELS, [[at(START), "1"]])).but(cut_after=60), "cut"),
    "cut JSON": (Answer(b'{"status":"success","data":{"resultType":"matrix","result":[{"met'), "ends too early"),
}


@pytest.mark.parametrize("name", INCOMPLETE)
def test_an_incomplete_answer_lands_nothing_and_the_next_window_is_asked(
    server: FaultServer, run: Callable[..., PullOutcome], tmp_path: Path, name: str
) -> None:
    broken, message = INCOMPLETE[name]
    tries = 5 if broken.cut_after else 1
    server.add(QUERY, *[broken] * tries, matrix())
    outcome = run()
    assert (outcome.asked, outcome.landed) == (2, 1)
    assert outcome.failure is not None
    assert message in outcome.failure
    assert [window.start for window in landed_windows(tmp_path, "cluster")] == [START + HOUR]
    assert len(landed_files(tmp_path)) == 1
    # The next pull closes the hole.
    assert run().failure is None
    assert [window.start for window in landed_windows(tmp_path, "cluster")] == [START, START + HOUR]


FAULTS = {
    "login page": (Answer.html(), "HTML page"),
    "other redirect": (Answer.redirect("http://169.254.169.254/api/v1/query"), "redirects to"),
    "error with 200": (refusal("internal", "the disk is full", 200), "the disk is full"),
    "no JSON": (Answer(b"Prometheus Server is Ready.\n"), "not JSON"),
    "a list": (Answer.json([]), "not an answer of the Prometheus API"),
    "a vector": (Answer.json({"status": "success", "data": {"resultType": "vector", "result": []}}), "no matrix"),
    "no pairs": (matrix((LABELS, [1, 2])), "not a series"),
    "numbers as labels": (matrix(({**LABELS, "engine": 0}, [[1, "1"]])), "not a series"),  # type: ignore[dict-item]  # wrong on purpose
    "no such page": (Answer(status=404), "404"),
    "a bomb": (Answer.bomb(megabytes=8), "times its size"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_no_answer_ends_the_pull_and_lands_nothing(
    server: FaultServer, run: Callable[..., PullOutcome], tmp_path: Path, name: str
) -> None:
    answer, message = FAULTS[name]
    server.add(QUERY, answer)
    outcome = run()
    assert outcome.landed == 0
    assert outcome.failure is not None
    assert message in outcome.failure
    assert landed_files(tmp_path) == []


def test_an_endless_answer_is_capped(
    server: FaultServer, run: Callable[..., PullOutcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus_api, "ANSWER_LIMIT_BYTES", 1 << 20)
    server.add(QUERY, Answer(b"[" * 65536, endless=True))
    outcome = run()
    assert outcome.failure is not None
    assert "longer than 1 MB" in outcome.failure
    assert landed_files(tmp_path) == []


def test_a_slow_server_does_not_hold_up_the_day(asked: Server, server: FaultServer, tmp_path: Path) -> None:
    server.add(QUERY, matrix().but(delay_seconds=1))
    impatient = HttpClient(frozenset({"127.0.0.1"}), timeout_seconds=(0.2, 0.2), max_attempts=2, sleep=lambda _: None)
    outcome = pull(asked, tmp_path, "cluster", now=NOW, look_back=HOUR, client=impatient)
    assert outcome.failure is not None
    assert "no answer in time" in outcome.failure
    assert len(server.requests) == 2  # the second window is not asked


def test_a_server_that_answers_in_part_again_and_again_is_left_alone(
    server: FaultServer, run: Callable[..., PullOutcome]
) -> None:
    server.add(QUERY, matrix(warnings=["no store"]))
    outcome = run(look_back=timedelta(days=3))
    assert (outcome.asked, outcome.landed) == (72 + 1, 0)  # from 06:00 three days before to 06:29
    assert len(server.requests) == 3


def test_settled_windows_are_not_asked_again(server: FaultServer, run: Callable[..., PullOutcome]) -> None:
    server.add(QUERY, matrix())
    run(look_back=timedelta(hours=3))
    assert len(server.requests) == 4  # 03:00, 04:00, 05:00, 06:00
    run(look_back=timedelta(hours=3))
    # Answered an hour after its end, a window is settled: 03:00 and 04:00 are.
    assert len(server.requests) == 4 + 2


def test_an_absence_is_caught_up_from_the_last_landed_window(
    server: FaultServer, run: Callable[..., PullOutcome], tmp_path: Path
) -> None:
    server.add(QUERY, matrix())
    run()
    outcome = run(now=NOW + timedelta(hours=12), look_back=HOUR)
    # 05:00 was answered half an hour after its end, the look-back alone would begin at 17:00.
    assert [window.start.hour for window in landed_windows(tmp_path, "cluster")] == list(range(5, 19))
    assert outcome.asked == 13
    outcome = run(now=NOW + timedelta(days=400), look_back=HOUR)
    assert outcome.asked == 30 * 24 + 1  # no further than MAX_CATCH_UP


def test_a_server_that_forgot_does_not_take_away_what_is_landed(
    server: FaultServer, run: Callable[..., PullOutcome], tmp_path: Path
) -> None:
    server.add(QUERY, matrix((LABELS, [[at(START), "1"], [at(START) + 15, "2"]])), matrix())
    run()
    server.add(QUERY, matrix((LABELS, [[at(START) + 15, "2"]])), matrix())
    run(now=NOW + timedelta(minutes=1))
    assert landed_windows(tmp_path, "cluster")[0].sample_count == 2
    late = [[at(START), "1"], [at(START) + 15, "2"], [at(START) + 30, "3"]]
    server.add(QUERY, matrix((LABELS, late)), matrix())
    run(now=NOW + timedelta(minutes=2))
    assert landed_windows(tmp_path, "cluster")[0].sample_count == 3


def test_a_failed_write_leaves_no_trace(
    server: FaultServer, run: Callable[..., PullOutcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add(QUERY, matrix())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        run()
    assert landed_files(tmp_path) == []


def test_the_client_speaks_to_this_server_only(asked: Server, server: FaultServer, tmp_path: Path) -> None:
    server.add(QUERY, Answer.redirect("http://example.com/api/v1/query"))
    outcome = pull(asked, tmp_path, "cluster", now=NOW, look_back=HOUR)
    assert outcome.failure is not None
    assert "refused" in outcome.failure


def test_basic_credentials_are_those_of_rfc_7617() -> None:
    assert basic("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


@given(
    now=st.integers(0, 10_000_000).map(lambda seconds: START + timedelta(seconds=seconds)),
    look_back=st.integers(1, 72),
    absent=st.sets(st.integers(0, 71)),
)
def test_after_a_pull_every_instant_of_the_look_back_is_in_one_window(
    now: datetime, look_back: int, absent: set[int]
) -> None:
    """Whatever was landed before, and whichever windows failed then."""
    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=72)
    landed = [
        LandedWindow(Path("x"), first + number * HOUR, first + (number + 1) * HOUR, now - HOUR, 1)
        for number in range(71)
        if number not in absent
    ]
    due = prometheus_api._due(landed, now, timedelta(hours=look_back))
    covered = {window.start: window.end for window in landed} | dict(due)
    moment = (now - timedelta(hours=look_back)).replace(minute=0, second=0, microsecond=0)
    until = (now - timedelta(minutes=1)).replace(second=0, microsecond=0)
    while moment < until:
        assert covered[moment] == min(moment + HOUR, until)
        moment = covered[moment]
    assert all(start < end <= start + HOUR for start, end in due)


def test_an_answer_that_is_refused_names_no_secret_in_the_server(asked: Server) -> None:
    assert "CANARY" not in repr(replace(asked, headers={"Authorization": "Bearer CANARY"}))


def test_a_link_local_server_is_never_asked(tmp_path: Path) -> None:
    server = Server("http://169.254.169.254", ("x",))
    outcome = pull(server, tmp_path, "cluster", now=NOW, look_back=HOUR)
    assert outcome.failure is not None
    assert "not a public address" in outcome.failure
