"""The HTTP client against a server that misbehaves: retries, deadlines, cut bodies, refused addresses, bombs."""

import gzip
import json
import socket
import time
from pathlib import Path

import pytest
from feeds import FakeClock

from scrapers.errors import IncompleteSnapshotError, PermanentError, SchemaDriftError, TransientError
from scrapers.http import HttpClient, parse_json
from tests.fault_server import Answer, FaultServer

GOOD = Answer.json({"price": 55.04})


def test_get_returns_the_exact_bytes_and_keeps_no_query(server: FaultServer, client: HttpClient) -> None:
    body = b'{ "a":\t1.10 }\n'
    server.add("/p", Answer(body, headers={"ETag": "x", "Set-Cookie": "secret=1"}))
    answer = client.get(server.url + "/p?token=abc", params={"currencyCode": "USD"})
    assert answer.body == body
    assert answer.url == server.url + "/p"
    assert answer.headers.keys() == {"date", "etag"}
    assert server.requests[0].query == {"token": "abc", "currencyCode": "USD"}
    assert server.requests[0].headers["user-agent"].startswith("inference-ledger/")


def test_gzip_is_unpacked_member_by_member(server: FaultServer, client: HttpClient) -> None:
    two_members = gzip.compress(b"[1,") + gzip.compress(b"2]")
    server.add("/p", Answer(two_members, headers={"Content-Encoding": "gzip"}))
    assert client.get(server.url + "/p").body == b"[1,2]"


def test_unasked_encoding_is_drift(server: FaultServer, client: HttpClient) -> None:
    server.add("/p", Answer(b"x", headers={"Content-Encoding": "br"}))
    with pytest.raises(SchemaDriftError, match="'br'"):
        client.get(server.url + "/p")


def test_server_errors_are_retried_with_growing_waits(
    server: FaultServer, client: HttpClient, clock: FakeClock
) -> None:
    server.add("/p", Answer(status=503), Answer(status=500), GOOD)
    assert json.loads(client.get(server.url + "/p").body) == {"price": 55.04}
    first, second = clock.sleeps
    assert 1 <= first <= 2 <= second <= 4  # 2 s and 4 s, of which at least half


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_retries_end_after_five_tries(server: FaultServer, client: HttpClient, status: int) -> None:
    server.add("/p", Answer(status=status))
    with pytest.raises(TransientError, match=f"/p answered {status}; try again later; gave up after 5 of 5 tries"):
        client.get(server.url + "/p", params={"key": "canary"})
    assert len(server.requests) == 5


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(401, "API key"), (403, "egress"), (404, "base_url"), (405, "retry cannot help"), (204, "204")],
)
def test_refusals_are_not_retried(
    server: FaultServer, client: HttpClient, clock: FakeClock, status: int, remedy: str
) -> None:
    server.add("/p", Answer(status=status))
    with pytest.raises(PermanentError, match=f"{status}.*{remedy}|{remedy}") as caught:
        client.get(server.url + "/p", params={"key": "canary"})
    assert "canary" not in str(caught.value)
    assert len(server.requests) == 1
    assert clock.sleeps == []


def test_404_is_retried_only_for_a_file_named_by_an_index(server: FaultServer, client: HttpClient) -> None:
    server.add("/p", Answer(status=404), Answer(b'"ok"'))
    assert client.download(server.url + "/p", b"".join, retry_404=True).body == b'"ok"'


@pytest.mark.parametrize(
    ("value", "shortest", "longest"),
    [
        ("0", 0, 0),
        ("2", 2, 2),
        ("3600", 300, 300),
        ("Mon, 23 Nov 2026 06:02:00 GMT", 120, 120),  # the clock stands at 06:00:00
        ("Mon, 23 Nov 2026 07:00:00 GMT", 300, 300),
        ("Mon, 23 Nov 2026 05:00:00 GMT", 1, 2),  # past: the usual back-off
        ("soon", 1, 2),
        ("-5", 1, 2),
        ("99999999999999999999", 1, 2),
    ],
)
def test_retry_after_is_honoured_up_to_five_minutes(
    server: FaultServer, client: HttpClient, clock: FakeClock, value: str, shortest: float, longest: float
) -> None:
    server.add("/p", Answer(status=429, headers={"Retry-After": value}), GOOD)
    client.get(server.url + "/p")
    assert len(clock.sleeps) == 1
    assert shortest <= clock.sleeps[0] <= longest


def test_deadline_covers_all_waits(server: FaultServer, client: HttpClient, clock: FakeClock) -> None:
    """900 s hold three waits of 300 s; a fourth would pass the deadline, so the fourth try is the last."""
    server.add("/p", Answer(status=429, headers={"Retry-After": "300"}))
    with pytest.raises(TransientError, match="gave up after 4 of 5 tries"):
        client.get(server.url + "/p")
    assert clock.sleeps == [300, 300, 300]


def test_deadline_covers_all_pages_of_a_client(server: FaultServer, client: HttpClient, clock: FakeClock) -> None:
    server.add("/a", GOOD)
    server.add("/b", Answer(status=503), GOOD)
    client.get(server.url + "/a")
    clock.elapsed = 899.5
    with pytest.raises(TransientError, match="gave up after 1 of 5"):
        client.get(server.url + "/b")


def test_deadline_ends_a_body_that_trickles(server: FaultServer) -> None:
    """One byte every 20 ms never trips a read time-out."""
    server.add("/p", Answer(b"[" + b" " * 5000 + b"]", seconds_per_byte=0.02))
    client = HttpClient(frozenset({"127.0.0.1"}), deadline_seconds=0.5)
    started = time.monotonic()
    with pytest.raises(TransientError, match="not finished after"):
        client.get(server.url + "/p")
    assert time.monotonic() - started < 3


def test_silence_times_out(server: FaultServer, clock: FakeClock) -> None:
    server.add("/p", GOOD.but(delay_seconds=1.5))
    client = HttpClient(frozenset({"127.0.0.1"}), timeout_seconds=(1, 0.2), max_attempts=2, sleep=clock.sleep)
    with pytest.raises(TransientError, match="no answer in time; gave up after 2 of 2"):
        client.get(server.url + "/p")


def test_timeouts_are_set_by_default() -> None:
    assert HttpClient(frozenset()).timeout_seconds == (10, 60)


_BODY = json.dumps({"items": list(range(1000))}).encode()
_CUTS = {
    "closed early": Answer(_BODY, cut_after=100),
    "reset": Answer(_BODY, cut_after=100, reset=True),
    "announced too long": Answer(_BODY, content_length=len(_BODY) + 10),
    "chunks end early": Answer(_BODY, chunked=True, cut_after=100),
    "gzip cut, length agrees": Answer(gzip.compress(_BODY)[:-20], headers={"Content-Encoding": "gzip"}),
    "gzip damaged": Answer(
        gzip.compress(_BODY)[:30] + b"\x00" * 40 + gzip.compress(_BODY)[70:], headers={"Content-Encoding": "gzip"}
    ),
}


@pytest.mark.parametrize("fault", _CUTS)
def test_a_cut_body_is_fetched_again(server: FaultServer, client: HttpClient, fault: str) -> None:
    server.add("/p", _CUTS[fault], Answer(_BODY))
    assert client.get(server.url + "/p").body == _BODY
    assert len(server.requests) == 2


@pytest.mark.parametrize("fault", _CUTS)
def test_a_body_that_stays_cut_is_incomplete(server: FaultServer, client: HttpClient, fault: str) -> None:
    server.add("/p", _CUTS[fault])
    with pytest.raises(IncompleteSnapshotError, match=r"/p: the (gzip )?body is .*gave up after 5 of 5"):
        client.get(server.url + "/p")


def test_a_download_starts_over_after_a_cut(server: FaultServer, client: HttpClient) -> None:
    server.add("/p", Answer(_BODY, cut_after=100), Answer(_BODY))
    seen: list[bytes] = []
    result = client.download(server.url + "/p", lambda chunks: seen.append(b"".join(chunks)) or seen[-1])
    assert result.body == _BODY
    assert seen == [_BODY]  # the first, cut, consumer never saw an end


def test_html_with_status_200_is_drift(server: FaultServer, client: HttpClient) -> None:
    server.add("/p", Answer.html())
    with pytest.raises(SchemaDriftError, match="HTML page where data is expected"):
        client.get(server.url + "/p")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "https://other.example/p",
        "//10.0.0.1/",
        "gopher://x",
    ],
)
def test_redirects_elsewhere_are_refused(server: FaultServer, client: HttpClient, target: str) -> None:
    server.add("/p", Answer.redirect(target))
    with pytest.raises(PermanentError, match="redirects to .* another host or protocol; refused"):
        client.get(server.url + "/p")
    assert len(server.requests) == 1


def test_redirect_to_another_port_of_this_machine_is_refused(server: FaultServer, client: HttpClient) -> None:
    with FaultServer() as victim:
        victim.add("/admin", GOOD)
        server.add("/p", Answer.redirect(victim.url + "/admin"))
        with pytest.raises(PermanentError, match="refused"):
            client.get(server.url + "/p")
        assert victim.requests == []


def test_redirect_on_the_same_host_is_followed_three_times(server: FaultServer, client: HttpClient) -> None:
    server.add("/old", Answer.redirect("/new"))
    server.add("/new", GOOD)
    assert client.get(server.url + "/old").url == server.url + "/new"
    server.add("/old", Answer.redirect("/new?page=1"))
    client.get(server.url + "/old", params={"page": "1"})
    assert server.requests[-1].query == {"page": "1"}  # as the redirect says, and not asked twice
    server.add("/loop", Answer.redirect("/loop"))
    with pytest.raises(PermanentError, match="redirects more than 3 times"):
        client.get(server.url + "/loop")


def test_gzip_bomb_is_refused_early(server: FaultServer, client: HttpClient) -> None:
    """64 MB in 64 kB: refused when the ratio shows, about a megabyte into it."""
    server.add("/p", Answer.bomb(64))
    taken = 0

    def count(chunks: object) -> None:
        nonlocal taken
        for chunk in chunks:
            taken += len(chunk)

    started = time.monotonic()
    with pytest.raises(PermanentError, match="more than 100 times its size"):
        client.download(server.url + "/p", count)
    assert taken < 8 << 20
    assert time.monotonic() - started < 5


def test_endless_body_is_refused_at_the_limit(server: FaultServer, client: HttpClient) -> None:
    server.add("/p", Answer(b"1234567890" * 6554, endless=True))
    with pytest.raises(PermanentError, match="longer than 1 MB"):
        client.get(server.url + "/p", limit_bytes=1 << 20)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://evil.example/", "not one of this source's hosts"),
        ("http://prices.example/", "only https"),
        ("ftp://127.0.0.1/", "only https"),
        ("http://user:canary@127.0.0.1/", "user name or password"),
        ("https://prices.example:99999999/", "not a usable address"),
    ],
)
def test_addresses_are_refused_before_anything_is_sent(
    url: str, message: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _resolve_to(monkeypatch, "93.184.216.34")
    client = HttpClient(frozenset({"127.0.0.1", "prices.example"}), sleep=clock.sleep)
    with pytest.raises(PermanentError, match=message) as caught:
        client.get(url)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.9",
        "127.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
    ],
)
def test_public_names_must_not_resolve_inwards(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _resolve_to(monkeypatch, address)
    with pytest.raises(PermanentError, match="not a public address; refused"):
        HttpClient(frozenset({"prices.example"})).get("https://prices.example/")


def test_dns_that_changes_its_mind_is_caught_before_a_byte_is_sent(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check asks DNS once, the connection once more: only the address of the open socket is proof."""
    answers = iter(["93.184.216.34", "127.0.0.1"])
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, port, *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))],
    )
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        client = HttpClient(frozenset({"prices.example"}))
        with pytest.raises(PermanentError, match="resolves to 127.0.0.1"):
            client.get(f"https://prices.example:{listener.getsockname()[1]}/")
        accepted, _ = listener.accept()
        with accepted:
            received.append(accepted.recv(100))
    assert received == [b""]  # not even a TLS hello


def test_private_network_allows_replicas_but_never_metadata(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    server.add("/metrics", Answer(b"up 1\n"))
    client = HttpClient(frozenset({"replica.internal"}), private_network=True, sleep=clock.sleep)
    _resolve_to(monkeypatch, "127.0.0.1")
    assert client.get(f"http://replica.internal:{server.port}/metrics").body == b"up 1\n"
    for metadata in ("169.254.169.254", "::ffff:169.254.169.254", "fe80::1"):
        _resolve_to(monkeypatch, metadata)
        with pytest.raises(PermanentError, match="refused"):
            client.get(f"http://replica.internal:{server.port}/metrics")


def test_netrc_passwords_are_not_sent(
    server: FaultServer, client: HttpClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login u password canary\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.add("/p", GOOD)
    client.get(server.url + "/p")
    assert "authorization" not in server.requests[0].headers


def test_unreachable_servers_are_transient(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = HttpClient(frozenset({"127.0.0.1", "nowhere.invalid"}), sleep=clock.sleep)
    with pytest.raises(TransientError, match="connection failed .*5 of 5"):
        client.get(f"http://127.0.0.1:{port}/")

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(
        TransientError, match="cannot be resolved; check the network and DNS; gave up after 2 of 2 tries"
    ):
        client.get("https://nowhere.invalid/")


def test_tls_failure_is_named(server: FaultServer, clock: FakeClock) -> None:
    client = HttpClient(frozenset({"127.0.0.1"}), max_attempts=1, sleep=clock.sleep)
    with pytest.raises(TransientError, match="TLS"):
        client.get(f"https://127.0.0.1:{server.port}/")


def test_post_sends_the_body_again_on_retry(server: FaultServer, client: HttpClient) -> None:
    server.add("/graphql", Answer(status=502), GOOD)
    client.post_json(server.url + "/graphql", {"query": "{x}"})
    assert [request.body for request in server.requests] == [b'{"query": "{x}"}'] * 2


def test_json_numbers_are_exact() -> None:
    value = parse_json(b'{"a": 0.1, "b": 1e-12, "c": 10, "d": NaN, "e": 1e99999999999999999999}', place="p")
    assert str(value["a"]) == "0.1"
    assert str(value["b"]) == "1E-12"
    assert value["c"] == 10
    assert value["d"].is_nan()
    assert value["e"].is_infinite()


@pytest.mark.parametrize("cut", [1, 5, 9, 14, 16, 22])
def test_json_that_ends_early_is_incomplete(cut: int) -> None:
    whole = b'{"items": [{"a": "b"}]}'
    with pytest.raises(IncompleteSnapshotError, match=rf"^page 1: .*ends too early, after {cut} bytes"):
        parse_json(whole[:cut], place="page 1")


@pytest.mark.parametrize(
    "text", [b"{'a': 1}", b"[1 2]", b"[" * 100_000 + b"]" * 100_000, b"\xff\xfe{\x00}\x00]", b"[1" + b"0" * 5000 + b"]"]
)
def test_what_is_not_json_is_drift(text: bytes) -> None:
    with pytest.raises(SchemaDriftError, match="^page 1: not "):
        parse_json(text, place="page 1")


@pytest.mark.parametrize("key", ["canary\n", "canary\u2019s"])
def test_a_key_that_no_header_can_carry_is_told_without_the_key(
    server: FaultServer, client: HttpClient, key: str
) -> None:
    """Pasted keys hold line feeds and typographic quotes; neither may stop the day or be sent five times."""
    with pytest.raises(PermanentError, match="the API key holds a character") as caught:
        client.get(server.url + "/p", headers={"Authorization": f"Bearer {key}"})
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert server.requests == []


def _resolve_to(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, port, *_, **__: [(family, socket.SOCK_STREAM, 6, "", (address, port))]
    )


def test_messages_name_no_credentials(server: FaultServer, client: HttpClient) -> None:
    server.add("/p", Answer(status=500))
    with pytest.raises(TransientError) as caught:
        client.get(server.url + "/p?api_key=canary", headers={"Authorization": "Bearer canary"})
    assert "canary" not in str(caught.value)
