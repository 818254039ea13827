"""What is shown is safe in any chat, and says what a person needs."""

import unicodedata
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.alerts.incidents import Incident, Severity, evaluate
from orchestration.alerts.messages import Facts, digest, heartbeat, message, plain, text
from tests.alerts.worlds import DAY, POLICY, finding, morning


def incident(**more: object) -> Incident:
    result = evaluate({}, [finding(**more)], scope="marts", day=DAY, now=morning(), policy=POLICY)  # type: ignore[arg-type]
    return next(iter(result.incidents.values()))


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("<!channel> *bold* `code`", "‹!channel› ∗bold∗ 'code'"),
        ("@everyone", "(at)everyone"),
        ("[click](https://evil.example.com/x)", "(click)(https: //evil.example․com/x)"),
        ("a\r\nb\x1b[31mred\x00", "a b (31mred"),
        ("abc\u202egnp.exe\u200b", "abcgnp.exe"),
        ("_under_ my_model_v2 ~~x~~ |y|", "-under- my_model_v2 ∼∼x∼∼ ¦y¦"),
        ("g6e.xlarge p5.48xlarge ledger.yaml Llama-3.1-8B", "g6e.xlarge p5.48xlarge ledger.yaml Llama-3.1-8B"),
    ],
)
def test_names_are_made_plain(hostile: str, shown: str) -> None:
    assert plain(hostile) == shown


@settings(deadline=None)
@given(st.text(max_size=400))
def test_nothing_that_a_service_acts_on_survives(text: str) -> None:
    shown = plain(text, 300)
    assert len(shown) <= 300
    assert not set(shown) & set("<>*`[]|~\\@\r\n")
    assert "://" not in shown
    assert not any(unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for sign in shown)
    assert plain(shown, 300) == shown


def test_a_name_of_300_characters_leaves_room_for_the_rest() -> None:
    body = text(incident(headline="x" * 300, explanation="y" * 5000), (), POLICY)
    assert len(body) < 1500
    assert "Do: Look at it." in body


def test_a_message_says_all_that_a_person_needs() -> None:
    found = finding(
        "chat-70b", "1240", direction="up", explanation="utilisation +14.1 pts", data_state="complete to 23:59 UTC",
        evidence_sql="from fct_cost_drift_daily where series = 'chat-70b'", headline="Cost per 1M tokens rose 18.4%",
    )  # fmt: skip
    result = evaluate({}, [found], scope="marts", day=DAY, now=morning(), policy=POLICY)
    title, body = message(result.notices[0], POLICY)
    short = found.fingerprint[:8]
    assert title == "[page] Cost per 1M tokens rose 18.4%"
    assert body.split("\n") == [
        "Cost per 1M tokens rose 18.4%",
        "Money: about +$1,240.00 a day",
        "Since: 2026-11-23",
        "Why: utilisation +14.1 pts",
        "Data: complete to 23:59 UTC",
        "Proof: inference-ledger query \"from fct_cost_drift_daily where series = 'chat-70b'\"",
        "Do: Look at it.",
        f'Quiet: inference-ledger alerts ack {short} --reason "…" · inference-ledger alerts mute {short} --days 7 '
        '--reason "…"',
        f"Key: {found.fingerprint}-1",
    ]


@pytest.mark.parametrize(
    "sql", ['from x where a = "$(rm -rf .)"', "from x where a = '`id`'", "from x <!channel>", "a\nb"]
)
def test_a_query_that_a_shell_could_misread_is_not_shown(sql: str) -> None:
    assert "Proof" not in text(incident(evidence_sql=sql), (), POLICY)


@pytest.mark.parametrize(
    ("impact", "exposed", "direction", "said"),
    [
        (None, None, "", "unknown"),
        ("0", "0", "", "none of the fleet's rests on it"),
        ("0", "65.16", "", "none wrong now; $65.16 a day rests on it"),
        (None, "65.16", "", "$65.16 a day rests on it"),
        ("12.5", "100", "down", "about -$12.50 a day, of $100.00 a day concerned"),
    ],
)
def test_money_that_is_unknown_is_said(impact: str | None, exposed: str | None, direction: str, said: str) -> None:
    one = incident(usd=impact, exposed_usd_per_day=exposed and Decimal(exposed), direction=direction)
    assert f"Money: {said}\n" in text(one, (), POLICY)


def test_the_sign_of_life_says_what_is_open_and_what_is_over() -> None:
    facts = Facts(date(2026, 11, 22), 4, 4, Decimal("2173.178"), Decimal("2.5071"))
    quiet, _ = heartbeat(facts, [incident(usd=1)], [])
    assert quiet == "All well: 4 of 4 sources fresh, cost $2,173.18 on 2026-11-22, $2.5071 per million tokens"
    loud, body = heartbeat(
        replace(facts, cost_usd=None, usd_per_million_tokens=None), [incident(usd=5000)], [incident()]
    )
    assert loud.startswith("1 page open: 4 of 4 sources fresh, cost unknown")
    assert "Resolved: [warning] Cost of aws moved" in body


def test_the_digest_lists_what_wakes_nobody() -> None:
    found = digest(date(2026, 11, 22), [incident(usd=1), incident(subject="gcp", usd=9), incident(usd=500)])
    assert found is not None
    title, body = found
    assert title == "Weekly digest: 2 findings that wake nobody"
    assert body.index("gcp") < body.index("aws")
    assert body.endswith("Key: digest-2026-W47")  # 22 November 2026 is the Sunday of ISO week 47
    assert digest(date(2026, 11, 22), [incident(usd=500)]) is None
    assert Severity.of("page") > Severity.of("info")
