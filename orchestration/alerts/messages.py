"""What people read: one message per incident, safe to show in any chat, mail or pager.

Names come from logs and price lists, so anybody who may call a model may write into these messages. Text is made plain
here, once, for all services: no mention, link, mark-up, control character or mark that turns the direction of text.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from orchestration.alerts.incidents import Finding, Incident, Notice, Policy, Severity

LONGEST_NAME = 80
LONGEST_TITLE = 160
LONGEST_PART = 600
LISTED = 5

# Look-alikes that no service reads as mark-up; a backslash would be shown by those that know none.
_PLAIN = str.maketrans(
    {
        "*": "∗", "`": "'", "<": "‹", ">": "›", "[": "(", "]": ")", "|": "¦", "~": "∼", "\\": "∖", "@": "(at)",
    }
)  # fmt: skip
_LINKED = re.compile(r"(?i)\b(www)\.|(?<=\w)\.(?=(?:com|net|org|io|ai|dev|app|xyz|co|me|info|biz|link|ru|cn|top)\b)")
# A command that is pasted into a shell between double quotes, and shown in a chat.
_SAFE_SQL = re.compile(r"[A-Za-z0-9 _.,:/#+=>()'*%-]{1,1000}")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the published tables say of the last day; None is unknown."""

    day: date
    fresh_source_count: int
    source_count: int
    cost_usd: Decimal | None
    usd_per_million_tokens: Decimal | None


def plain(text: str, longest: int = LONGEST_PART) -> str:
    """Text without anything that a service would act on, in one line, cut to `longest` characters."""
    kept = "".join(
        " " if unicodedata.category(sign) in ("Cc", "Zl", "Zp") else sign
        for sign in text
        if unicodedata.category(sign) not in ("Cf", "Cs", "Co", "Cn")
    )
    kept = " ".join(kept.split()).translate(_PLAIN).replace("://", ": //")
    kept = _LINKED.sub(lambda match: f"{match[1] or ''}\u2024", kept)
    kept = re.sub(r"(?<![A-Za-z0-9])_+|_+(?![A-Za-z0-9])", "-", kept)
    return kept if len(kept) <= longest else kept[: longest - 1] + "…"


def title(incident: Incident, reason: str = "") -> str:
    """One line: how loud, what, and why it is told again."""
    again = f", {reason}" if reason not in ("", "new") else ""
    return f"[{incident.severity.word}{again}] {plain(incident.finding.headline, LONGEST_TITLE)}"


def text(incident: Incident, members: Sequence[Incident], policy: Policy) -> str:
    """The incident for a person: what, money, since when, why, what else, proof, what to do, how to silence it."""
    finding = incident.finding
    short = incident.fingerprint[:8]
    lines = [
        plain(finding.headline, LONGEST_TITLE),
        f"Money: {money(finding, incident.group_impact_usd_per_day)}",
        f"Since: {finding.first_seen_at:%Y-%m-%d}",
        f"Why: {plain(finding.explanation or finding.cause)}" if finding.explanation or finding.cause else "",
        f"Findings: {finding.finding_count}" if finding.finding_count > 1 else "",
    ]
    if members:
        count = "1 more finding" if len(members) == 1 else f"{len(members)} more findings"
        lines.append(f"Same cause: {count}")
        lines += [f"- {plain(one.finding.headline, 110)}" for one in members[:LISTED]]
        lines += [f"- and {len(members) - LISTED} more (fct_alerts, parent {short})"] if len(members) > LISTED else []
    lines += [
        f"Data: {plain(finding.data_state)}" if finding.data_state else "",
        f'Proof: inference-ledger query "{finding.evidence_sql}"' if _SAFE_SQL.fullmatch(finding.evidence_sql) else "",
        f"Do: {policy.kinds[finding.kind].advice}",
        f'Quiet: inference-ledger alerts ack {short} --reason "…" · inference-ledger alerts mute {short} --days 7 '
        '--reason "…"',
    ]
    return "\n".join(line for line in lines if line)


def message(notice: Notice, policy: Policy) -> tuple[str, str]:
    """Title and body of what is sent; the key lets a receiver drop a second copy."""
    body = text(notice.incident, notice.members, policy)
    return title(notice.incident, notice.reason), f"{body}\nKey: {notice.key}"


def money(finding: Finding, impact: Decimal | None) -> str:
    """What is wrong or moved in USD a day, and what rests on it; unknown is said, not left out."""
    exposed = finding.exposed_usd_per_day
    sign = {"up": "+", "down": "-"}.get(finding.direction, "")
    if impact:
        return f"about {sign}${impact:,.2f} a day" + (f", of ${exposed:,.2f} a day concerned" if exposed else "")
    if exposed:
        return ("none wrong now; " if impact == 0 else "") + f"${exposed:,.2f} a day rests on it"
    return "none of the fleet's rests on it" if impact == 0 or exposed == 0 else "unknown"


def heartbeat(facts: Facts, incidents: Iterable[Incident], resolved: Sequence[Incident]) -> tuple[str, str]:
    """The daily sign of life: silence means that nothing was published or that the channel is dead."""
    told = [one for one in incidents if one.is_open and not one.parent and one.severity >= Severity.WARNING]
    loud = [one for one in told if not is_muted(one)]
    unit = "unknown" if facts.usd_per_million_tokens is None else f"${facts.usd_per_million_tokens:,.4f}"
    cost = "unknown" if facts.cost_usd is None else f"${facts.cost_usd:,.2f}"
    state = (
        f"{facts.fresh_source_count} of {facts.source_count} sources fresh, cost {cost} on {facts.day}, "
        f"{unit} per million tokens"
    )
    lines = [*(f"- {title(one)} ({one.state}, {one.fingerprint[:8]})" for one in loud[:LISTED])]
    lines += [f"- and {len(loud) - LISTED} more"] if len(loud) > LISTED else []
    lines += [f"{len(told) - len(loud)} muted"] if len(told) > len(loud) else []
    lines += [f"Resolved: {title(one)}" for one in resolved[:LISTED]]
    head = "All well" if not loud else f"{counted(loud)} open"
    return f"{head}: {state}", "\n".join([f"{head}: {state}", *lines, f"Key: {heartbeat_key(facts.day)}"])


def heartbeat_key(day: date) -> str:
    """One heartbeat a day of data."""
    return f"heartbeat-{day}"


def digest_key(day: date) -> str:
    """One digest per ISO week."""
    year, week, _ = day.isocalendar()
    return f"digest-{year}-W{week:02}"


def digest(day: date, incidents: Iterable[Incident]) -> tuple[str, str] | None:
    """The week's findings of severity info, dearest first; None when there are none."""
    quiet = sorted(
        (
            one
            for one in incidents
            if one.is_open and not one.parent and one.severity is Severity.INFO and not is_muted(one)
        ),
        key=lambda one: (-one.money, one.finding.headline),
    )
    if not quiet:
        return None
    lines = [f"- {plain(one.finding.headline, 120)} ({one.fingerprint[:8]})" for one in quiet[:10]]
    lines += [f"- and {len(quiet) - 10} more: inference-ledger alerts list --severity info"] if len(quiet) > 10 else []
    head = f"Weekly digest: {len(quiet)} findings that wake nobody"
    return head, "\n".join([head, *lines, f"Key: {digest_key(day)}"])


def counted(incidents: Iterable[Incident]) -> str:
    """`1 page, 2 warnings`."""
    found = [one.severity for one in incidents]
    words = [
        f"{count} {severity.word}{'s' if count > 1 and severity is not Severity.INFO else ''}"
        for severity in sorted(Severity, reverse=True)
        if (count := found.count(severity))
    ]
    return ", ".join(words) or "none"


def is_muted(incident: Incident) -> bool:
    """Whether somebody wants to hear nothing of it now."""
    return incident.state == "muted"


def when(instant: datetime | None) -> str:
    """An instant in UTC, to the minute."""
    return "" if instant is None else f"{instant:%Y-%m-%d %H:%M} UTC"
