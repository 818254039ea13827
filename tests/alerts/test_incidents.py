"""What becomes of findings: states, parents, severities, and when somebody is told."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.alerts.findings import RunFailures, load_policy, run_findings
from orchestration.alerts.incidents import (
    Evaluation,
    ExpectedChange,
    Finding,
    Incident,
    Severity,
    State,
    acknowledge,
    evaluate,
    mute,
    resolve,
    severity_of,
)
from tests.alerts.worlds import DAY, POLICY, finding, morning

NOTHING: dict[str, Incident] = {}


def look(
    known: dict[str, Incident],
    found: Sequence[Finding],
    day: date = DAY,
    *,
    now: datetime | None = None,
    expected: Sequence[ExpectedChange] = (),
    tellable: Severity | None = Severity.WARNING,
) -> Evaluation:
    return evaluate(
        known,
        found,
        scope="marts",
        day=day,
        now=now or morning(day),
        policy=POLICY,
        expected=expected,
        tellable=tellable,
    )


def days(*found: Sequence[Finding], known: dict[str, Incident] | None = None, first: date = DAY) -> list[Evaluation]:
    """Evaluations of days in a row."""
    results, known = [], dict(known or {})
    for number, findings in enumerate(found):
        results.append(look(known, findings, first + timedelta(days=number)))
        known = results[-1].incidents
    return results


def reasons(evaluations: list[Evaluation]) -> list[list[str]]:
    return [[notice.reason for notice in one.notices] for one in evaluations]


def only(evaluation: Evaluation) -> Incident:
    (incident,) = evaluation.incidents.values()
    return incident


def test_the_fingerprint_is_the_digest_of_its_parts_and_of_nothing_else() -> None:
    """Worked out here with hashlib from the documented form: a JSON array, so that no separator can be forged."""
    one = finding("aws", segment="spot", direction="up", cause="fx")
    assert one.fingerprint == hashlib.sha256(b'["rule", "aws", "spot", "up", "fx"]').hexdigest()[:16]
    assert replace(one, headline="other", impact_usd_per_day=Decimal(9)).fingerprint == one.fingerprint
    assert replace(one, subject="aws|spot", segment="").fingerprint != replace(one, subject="aws").fingerprint


def test_what_stopped_a_run_is_over_with_the_next_good_run() -> None:
    """Also on the same day, and told again when it comes back."""
    found = [finding("dbt_build")]
    states, known = [], NOTHING
    for findings, hours in ((found, 0), ([], 1), ([], 2), (found, 30)):
        result = evaluate(
            known, findings, scope="run", day=DAY, now=morning(DAY) + timedelta(hours=hours), policy=POLICY
        )
        states.append((only(result).state, [notice.reason for notice in result.notices]))
        known = result.incidents
    assert states == [
        (State.OPEN, ["new"]),
        (State.RESOLVED, []),
        (State.RESOLVED, []),
        (State.REOPENED, ["reopened"]),
    ]


def test_a_finding_is_told_once_however_long_it_lasts() -> None:
    assert reasons(days(*[[finding()]] * 10)) == [["new"], *[[]] * 9]


def test_three_normal_days_resolve_and_a_return_reopens() -> None:
    evaluations = days([finding()], [], [], [], [], [finding()])
    states = [only(one).state for one in evaluations]
    assert states == ["open", "open", "open", "resolved", "resolved", "reopened"]
    assert reasons(evaluations) == [["new"], [], [], [], [], ["reopened"]]
    assert only(evaluations[-1]).reopened_count == 1


def test_a_finding_that_vanishes_for_two_days_is_the_same_and_is_not_told_again() -> None:
    evaluations = days([finding()], [], [], [finding()], [], [], [finding()])
    assert only(evaluations[-1]).state == State.OPEN
    assert reasons(evaluations) == [["new"], *[[]] * 6]


def test_the_same_day_twice_is_one_normal_day() -> None:
    known = look(NOTHING, [finding()]).incidents
    for _ in range(5):
        known = look(known, [], DAY + timedelta(days=1)).incidents
    assert next(iter(known.values())).normal_days == 1


def test_an_earlier_day_changes_nothing() -> None:
    known = look(NOTHING, [finding()]).incidents
    back = look(known, [finding("other")], DAY - timedelta(days=20), now=morning())
    assert back.incidents == known
    assert back.notices == ()


def test_a_clock_that_ran_ahead_does_not_stop_the_days_after_it() -> None:
    future = DAY + timedelta(days=3650)
    known = look(NOTHING, [finding()], future).incidents
    after = look(known, [finding(), finding("other")], DAY)
    assert [notice.incident.finding.subject for notice in after.notices] == ["other"]
    # And its cool-down, ten years long, does not hold what has become severe.
    worse = look(after.incidents, [finding(usd=5000)], DAY + timedelta(days=1))
    assert [notice.reason for notice in worse.notices] == ["more severe"]


def test_told_again_when_money_grows_by_half_and_not_before() -> None:
    """100 told; 149 is less than half more; 150 is half more and 50 USD more, above the 25 that are worth a message."""
    evaluations = days([finding(usd=100)], [finding(usd=149)], [finding(usd=150)], [finding(usd=160)])
    assert reasons(evaluations) == [["new"], [], ["grew by half"], []]


def test_small_money_that_doubles_is_not_worth_a_message() -> None:
    """26 to 50 USD a day is nearly double, and 24 USD."""
    assert reasons(days([finding(usd=26)], [finding(usd=50)])) == [["new"], []]


def test_within_a_day_only_a_page_is_told_again() -> None:
    first = look(NOTHING, [finding(usd=100)])
    later = morning() + timedelta(hours=3)
    assert look(first.incidents, [finding(usd=900)], now=later).notices == ()
    (notice,) = look(first.incidents, [finding(usd=1000)], now=later).notices
    assert (notice.reason, notice.incident.severity) == ("more severe", Severity.PAGE)


def test_growth_held_back_by_the_cool_down_is_told_after_it() -> None:
    first = look(NOTHING, [finding(usd=100)])
    held = look(first.incidents, [finding(usd=900)], now=morning() + timedelta(hours=3))
    (notice,) = look(held.incidents, [finding(usd=900)], DAY + timedelta(days=1)).notices
    assert notice.reason == "grew by half"


def test_info_is_never_told_at_once() -> None:
    assert reasons(days([finding(usd=24)], [finding(kind="quiet", usd=10_000)])) == [[], []]


def test_what_nobody_could_be_told_is_told_when_there_is_a_channel() -> None:
    known = look(NOTHING, [finding()], tellable=None).incidents
    (notice,) = look(known, [finding()], DAY + timedelta(days=1)).notices
    assert notice.reason == "new"


def test_acknowledged_is_silent_until_it_becomes_worse() -> None:
    known = look(NOTHING, [finding(usd=100)]).incidents
    known = {key: acknowledge(one, who="kim", reason="on it", now=morning()) for key, one in known.items()}
    quiet, worse = days([finding(usd=120)], [finding(usd=2000)], known=known, first=DAY + timedelta(days=1))
    assert (quiet.notices, only(quiet).state, only(quiet).acknowledged_by) == ((), State.ACKNOWLEDGED, "kim")
    assert [notice.reason for notice in worse.notices] == ["more severe"]
    assert only(worse).state == State.OPEN


def test_muted_is_silent_until_its_end_and_is_then_told() -> None:
    known = look(NOTHING, [finding()]).incidents
    until = morning(DAY + timedelta(days=3))
    known = {key: mute(one, who="kim", reason="known", until=until) for key, one in known.items()}
    evaluations = days(*[[finding()]] * 4, known=known, first=DAY + timedelta(days=1))
    assert reasons(evaluations) == [[], [], ["mute ended"], []]


def test_a_mute_does_not_hide_what_becomes_more_severe() -> None:
    known = look(NOTHING, [finding(usd=100)]).incidents
    known = {k: mute(one, who="kim", reason="x", until=morning() + timedelta(days=30)) for k, one in known.items()}
    same = look(known, [finding(usd=999)], DAY + timedelta(days=1))
    assert same.notices == ()
    worse = look(same.incidents, [finding(usd=1000)], DAY + timedelta(days=2))
    assert [notice.reason for notice in worse.notices] == ["more severe"]


def test_a_mute_outlives_that_the_finding_is_gone_for_a_while() -> None:
    known = look(NOTHING, [finding()]).incidents
    known = {k: mute(one, who="kim", reason="x", until=morning() + timedelta(days=30)) for k, one in known.items()}
    evaluations = days([], [], [], [finding()], known=known, first=DAY + timedelta(days=1))
    assert [only(one).state for one in evaluations] == ["muted", "muted", "resolved", "muted"]
    assert evaluations[-1].notices == ()


def test_resolved_by_hand_and_still_there_comes_back_the_next_day() -> None:
    known = look(NOTHING, [finding()]).incidents
    known = {key: resolve(one, reason="fixed", now=morning()) for key, one in known.items()}
    (notice,) = look(known, [finding()], DAY + timedelta(days=1)).notices
    assert notice.reason == "reopened"


def test_an_expected_change_is_silent_for_as_long_as_its_window() -> None:
    window = ExpectedChange(morning() - timedelta(days=1), morning(DAY + timedelta(days=2)), "move", (), ("aw*",))
    known: dict[str, Incident] = {}
    told = []
    for number in range(4):
        day = DAY + timedelta(days=number)
        result = look(known, [finding("aws", 5000), finding("gcp")], day, expected=[window])
        told.append([(n.incident.finding.subject, n.reason) for n in result.notices])
        known = result.incidents
    assert told == [[("gcp", "new")], [], [("aws", "new")], []]
    muted = look(NOTHING, [finding("aws")], expected=[window])
    assert (only(muted).muted_by, only(muted).note) == ("ledger.yaml", "move")


def test_a_feed_error_with_900_skus_is_one_alert() -> None:
    result = look(NOTHING, [finding("aws", usd=2, finding_count=1)] * 900)
    (notice,) = result.notices
    assert notice.incident.finding.finding_count == 900
    assert notice.incident.group_impact_usd_per_day == 1800
    assert notice.incident.severity == Severity.PAGE


def test_findings_of_one_cause_have_one_parent() -> None:
    """Rules a and b see the same money (30 + 20 and 45); those of one rule add up: 50, not 95 and not 45."""
    found = [
        finding("aws", 30, rule_id="a", group_key="cause"),
        finding("gcp", 20, rule_id="a", group_key="cause"),
        finding("aws", 45, rule_id="b", group_key="cause"),
        finding("oci", 40),
    ]
    notices = look(NOTHING, found).notices
    assert sorted(len(notice.members) for notice in notices) == [0, 2]
    (parent,) = [notice.incident for notice in notices if notice.members]
    assert parent.finding.rule_id == "b"  # the dearest speaks
    assert parent.group_impact_usd_per_day == 50


def test_a_parent_stays_the_parent_when_a_child_becomes_dearer() -> None:
    one, other = finding("aws", 30, group_key="cause"), finding("gcp", 29, group_key="cause")
    dearer = replace(other, impact_usd_per_day=Decimal(31))
    first, second = days([one, other], [one, dearer])
    assert [notice.incident.finding.subject for notice in first.notices] == ["aws"]
    assert second.notices == ()
    assert second.incidents[other.fingerprint].parent == one.fingerprint


def test_how_bad_it_once_was_makes_no_parent_of_what_comes_back() -> None:
    """What was resolved as a warning returns without money, beside 10 a day of the same cause: the dearer one leads."""
    cheap = finding("gcp", None, group_key="cause")
    cheap_then = replace(cheap, impact_usd_per_day=Decimal(30))
    found = [cheap, finding("aws", 10, group_key="cause")]
    *_, resolved = days([cheap_then], [], [], [])
    assert only(resolved).state is State.RESOLVED
    first = look(resolved.incidents, found, DAY + timedelta(days=4))
    again = look(first.incidents, found, DAY + timedelta(days=4))
    assert first.incidents[cheap.fingerprint].parent == found[1].fingerprint
    assert again.incidents == first.incidents


STALE = finding(
    "azure", None, kind="source_stale", rule_id="source_stale", feed="azure", is_feed_fault=True,
    exposed_usd_per_day=Decimal(10),
)  # fmt: skip


def test_what_depends_on_a_stale_feed_stands_under_it() -> None:
    drift = finding("chat", 500, feed="azure")
    result = look(NOTHING, [drift, STALE, finding("other", 100, feed="aws")])
    told = {notice.incident.finding.subject: notice for notice in result.notices}
    assert set(told) == {"azure", "other"}
    assert [one.finding.subject for one in told["azure"].members] == ["chat"]
    assert told["azure"].incident.severity == Severity.WARNING  # of the 500 a day under it


def test_a_page_under_a_quiet_parent_pages() -> None:
    (notice,) = look(NOTHING, [finding("chat", 5000, feed="azure"), STALE]).notices
    assert (notice.incident.finding.subject, notice.incident.severity) == ("azure", Severity.PAGE)


def test_children_are_told_themselves_once_the_feed_is_back() -> None:
    drift = finding("chat", 500, feed="azure")
    evaluations = days([drift, STALE], [drift], [drift], [drift])
    subjects = [[notice.incident.finding.subject for notice in one.notices] for one in evaluations]
    assert subjects == [["azure"], [], ["chat"], []]  # one day of grace, for feeds that flicker


@pytest.mark.parametrize(
    ("usd", "severity"),
    [(0, "info"), ("24.99", "info"), (25, "warning"), ("999.99", "warning"), (1000, "page"), (None, "info")],
)
def test_money_decides_severity(usd: str | int | None, severity: str) -> None:
    assert severity_of(finding(usd=usd), POLICY).word == severity


@pytest.mark.parametrize(
    ("hours", "exposed", "severity"),
    [
        (47, 500, "warning"),
        (48, 500, "warning"),
        (49, 500, "page"),
        (49, 0, "info"),
        (1000, 24, "info"),
        (49, None, "warning"),
    ],
)
def test_a_feed_that_is_blocked_for_48_hours_pages_when_money_rests_on_it(
    hours: int, exposed: int | None, severity: str
) -> None:
    one = replace(
        STALE, blocked_hours=Decimal(hours), exposed_usd_per_day=None if exposed is None else Decimal(exposed)
    )
    assert severity_of(one, POLICY).word == severity


def test_the_seeds_hold_the_thresholds_that_the_documents_state() -> None:
    policy = load_policy()
    assert policy.min_usd_per_day == {Severity.PAGE: 1000, Severity.WARNING: 25, Severity.INFO: 0}
    assert policy.kinds["source_stale"].page_after_hours == 48
    assert all(kind.floor <= kind.cap and kind.advice for kind in policy.kinds.values())


def test_a_run_that_published_nothing_pages_after_48_hours() -> None:
    failures = RunFailures(
        steps=(("dbt_build", "a test failed"),), checks=(("landing/aws_prices: answered_today", "x"),)
    )
    policy = load_policy()
    for hours, severity in ((47, Severity.WARNING), (49, Severity.PAGE)):
        found = run_findings(
            failures, is_published=False, published_at=morning() - timedelta(hours=hours), now=morning()
        )
        result = evaluate({}, found, scope="run", day=DAY, now=morning(), policy=policy)
        (notice,) = result.notices  # step and publication are one alert; the check is of severity info
        assert notice.incident.severity == severity
        assert len(notice.members) == 1
    assert {one.feed for one in found} == {"aws", ""}


# --- any sequence of days and people --------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.integers(-2, 3),  # days onward; back, too
        st.integers(-30, 30),  # hours by which the clock is wrong
        st.lists(
            st.builds(
                finding,
                subject=st.sampled_from(["a", "b", "c"]),
                usd=st.sampled_from([None, 0, 10, 30, 60, 2000]),
                group_key=st.sampled_from(["", "g"]),
                feed=st.sampled_from(["", "f"]),
                is_feed_fault=st.booleans(),
                rule_id=st.sampled_from(["r", "s"]),
            ),
            max_size=4,
        ),
        st.sampled_from(["", "ack", "mute", "resolve"]),
    ),
    max_size=25,
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_whatever_happens_the_rules_hold(steps: list[tuple[int, int, list[Finding], str]]) -> None:
    known: dict[str, Incident] = {}
    day = DAY
    keys: list[str] = []
    told_at: dict[str, list[tuple[datetime, Severity]]] = {}
    for onward, skew, found, action in steps:
        day += timedelta(days=onward)
        now = morning(day) + timedelta(hours=skew)
        before = known
        result = look(known, found, day, now=now)
        again = look(result.incidents, found, day, now=now)
        assert again.notices == (), "the same day, evaluated twice, tells nothing new"
        assert again.incidents == result.incidents
        known = result.incidents
        assert before.keys() <= known.keys(), "no incident is ever forgotten"
        for fingerprint, one in known.items():
            assert one.fingerprint == one.finding.fingerprint == fingerprint
            if one.parent:
                assert not known[one.parent].parent, "a parent has no parent"
                assert one.fingerprint in known[one.parent].children or not one.is_present
            if one.state is State.RESOLVED:
                assert one.parent == ""
            for child in one.children:
                assert known[child].severity <= max(one.severity, Severity.PAGE)
            if one.is_present and one.children:
                assert one.severity >= max(known[child].severity for child in one.children), "nothing hides below"
        for notice in result.notices:
            incident = notice.incident
            assert incident.severity >= Severity.WARNING
            assert not incident.parent
            assert incident.is_open
            assert incident.state not in (State.MUTED, State.ACKNOWLEDGED)
            earlier = told_at.setdefault(incident.fingerprint, [])
            if earlier and timedelta(0) <= now - earlier[-1][0] < timedelta(days=1):
                assert incident.severity is Severity.PAGE, "within a day only a page is told again"
            earlier.append((now, incident.severity))
            keys.append(notice.key)
        if action and known:
            fingerprint = min(known)
            one = known[fingerprint]
            if action == "ack":
                changed = acknowledge(one, who="kim", reason="x", now=now)
            elif action == "mute":
                changed = mute(one, who="kim", reason="x", until=now + timedelta(days=2))
            else:
                changed = resolve(one, reason="x", now=now)
            known = {**known, fingerprint: changed}
    assert len(keys) == len(set(keys)), "every notice has a key of its own"
