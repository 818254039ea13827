"""`inference-ledger alerts`: what is open, and what people say about it.

Works on the alert ledger alone, so also while a run holds the warehouse.
"""

import json
import os
import pwd
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestration.alerts.day import deliver_alerts, open_roots
from orchestration.alerts.delivery import Delivery, Message, send
from orchestration.alerts.findings import load_policy
from orchestration.alerts.incidents import Incident, Severity, acknowledge, mute, resolve, unmute
from orchestration.alerts.ledger import AlertLedger, UnknownIncidentError
from orchestration.alerts.messages import money, plain, text, title, when
from orchestration.alerts.simulation import report, simulate
from orchestration.command_options import ConfigOption, DataDirOption
from orchestration.settings import Settings, load_settings

LONGEST_MUTE_DAYS = 366

alerts_app = typer.Typer(
    help="What is open, and what people say about it: acknowledge, mute, resolve; test and empty the outbox.",
    invoke_without_command=True,
)
out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, soft_wrap=True, stderr=True)

IncidentArgument = Annotated[
    str, typer.Argument(metavar="ID", help="First characters of the incident, such as 3f2a9c1d.")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept with the incident.")]
ByOption = Annotated[
    str | None, typer.Option("--by", help="Who says so.  [default: the user of this machine]", show_default=False)
]


@alerts_app.callback()
def main(context: typer.Context) -> None:
    """What is open, and what people say about it."""
    if context.invoked_subcommand is None:
        list_(config=None, data_dir=None, everything=False, severity=None, as_json=False)


@alerts_app.command("list")
def list_(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Resolved incidents too, and those under a parent.")
    ] = False,
    severity: Annotated[
        str | None, typer.Option("--severity", metavar="page|warning|info", help="Only these.  [default: all]")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="As JSON on standard output, one object per incident.")
    ] = False,
) -> None:
    """Open incidents, the loudest and dearest first."""
    _, ledger = _ledger(config, data_dir)
    found = ledger.incidents()
    chosen = open_roots(found)
    if everything:
        chosen += sorted(
            (one for one in found.values() if one not in chosen), key=lambda one: one.opened_at, reverse=True
        )
    try:
        chosen = [one for one in chosen if severity is None or one.severity is Severity.of(severity)]
    except ValueError as error:
        _fail(str(error), code=2)
    if as_json:
        out.file.write(json.dumps([_as_json(one) for one in chosen], indent=2) + "\n")
        return
    if not chosen:
        out.print("no incident is open" if not everything and severity is None else "no such incident")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("id", "severity", "state", "since", "what"):
        table.add_column(name, no_wrap=name != "what")
    for one in chosen:
        more = f" (+{len(one.children)})" if one.children else ""
        table.add_row(
            one.fingerprint[:8],
            Text(one.severity.word, {"page": "red", "warning": "yellow"}.get(one.severity.word, "")),
            _state(one),
            f"{one.finding.first_seen_at:%Y-%m-%d}",
            Text(plain(one.finding.headline) + more),
        )
    out.print(table)
    out.print("Look further:  inference-ledger alerts show ID   ·   ack, mute, resolve ID --reason …")


@alerts_app.command()
def show(incident: IncidentArgument, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """One incident: what is told of it, what stands under it, and all that happened to it."""
    _, ledger = _ledger(config, data_dir)
    one, journal = _known(lambda: ledger.incident(incident))
    others = ledger.incidents()
    members = [others[child] for child in one.children if child in others]
    out.print(Text(title(one)), style="bold")
    out.print(Text(text(one, members, load_policy())))
    out.print(f"State: {_state(one)}" + (f", under {one.parent[:8]}" if one.parent else ""))
    for entry in journal:
        reason = f": {entry.reason}" if entry.reason else ""
        until = f" until {when(entry.until)}" if entry.until else ""
        out.print(Text(f"  {when(entry.at)}  {entry.action}{until} by {entry.who}{reason}"))
    delivered_at, channels, problem = ledger.deliveries().get(one.fingerprint, (None, [], ""))
    if channels:
        out.print(f"Latest message: at {', '.join(channels)} since {when(delivered_at)}")
    if problem:
        out.print(Text(f"Not delivered: {problem.removesuffix('; ')}"))


@alerts_app.command()
def ack(
    incident: IncidentArgument,
    reason: ReasonOption,
    by: ByOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Acknowledge: somebody works on it. Told again only when it becomes more severe or dearer by half."""
    now = datetime.now(UTC)
    who = _who(by)
    _say(
        config,
        data_dir,
        incident,
        lambda one: acknowledge(one, who=who, reason=reason, now=now),
        "acknowledged",
        who,
        reason,
    )


@alerts_app.command("mute")
def mute_(
    incident: IncidentArgument,
    reason: ReasonOption,
    days: Annotated[int, typer.Option("--days", min=1, max=LONGEST_MUTE_DAYS, help="For how long.")] = 7,
    by: ByOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Mute for some days: nothing is told, unless it becomes more severe than it is now."""
    until = datetime.now(UTC) + timedelta(days=days)
    who = _who(by)
    _say(config, data_dir, incident, lambda one: mute(one, who=who, reason=reason, until=until), "muted", who, reason)


@alerts_app.command("unmute")
def unmute_(
    incident: IncidentArgument,
    reason: ReasonOption = "",
    by: ByOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """End a mute, or take an acknowledgement back."""
    _say(config, data_dir, incident, lambda one: unmute(one, reason=reason), "unmuted", _who(by), reason)


@alerts_app.command("resolve")
def resolve_(
    incident: IncidentArgument,
    reason: ReasonOption,
    by: ByOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Say that it is over. Without a word it is after three days in which it was not found."""
    now = datetime.now(UTC)
    _say(config, data_dir, incident, lambda one: resolve(one, reason=reason, now=now), "resolved", _who(by), reason)


@alerts_app.command("test")
def try_channels(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    simulate_days: Annotated[
        int | None,
        typer.Option(
            "--simulate", metavar="DAYS", help="Send nothing: count what so many quiet days would tell.", min=7
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="The same seed makes the same days.")] = 1,
) -> None:
    """Send a test message to each channel and say what happened; with --simulate, measure the noise instead."""
    if simulate_days is not None:
        lines, is_quiet = report(simulate(simulate_days, seed=seed, policy=load_policy()))
        for line in lines:
            out.print(line, markup=False)
        raise typer.Exit(0 if is_quiet else 1)
    settings, ledger = _ledger(config, data_dir)
    channels, addresses = settings.ledger.alerts.channels, settings.alert_addresses()
    if not channels:
        out.print("ledger.yaml names no channel under alerts: findings are in fct_alerts and printed by run")
        return
    now = datetime.now(UTC)
    is_bad = False
    for channel in channels:
        problem: str | None = f"{channel.url_env} is not set"
        if channel.name in addresses:
            key = f"test-{now:%Y%m%dT%H%M%SZ}"
            body = f"This is a test of channel {channel.name}. Nothing has to be done.\nKey: {key}"
            message = Message(key, "", "info", "[test] Inference ledger", body)
            problem = next((answer for _, answer in send(addresses[channel.name], [message])), "no answer")
        ledger.note_channel(channel.name, problem, now=datetime.now(UTC))
        is_bad |= problem is not None
        out.print(Text(f"{channel.name}: ").append(problem or "accepted", "red" if problem else "green"))
    raise typer.Exit(1 if is_bad else 0)


@alerts_app.command()
def deliver(config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Send what waits in the outbox now: after quiet hours, or after a channel was down. For cron, or by hand."""
    settings, ledger = _ledger(config, data_dir)
    for line in delivery_lines(deliver_alerts(settings), ledger.waiting_count()):
        out.print(line)


def delivery_lines(done: Delivery, waiting: int) -> list[Text]:
    """What one delivery did, for a person."""
    if done.is_busy:
        return [Text("another process is delivering")]
    lines = [
        Text(f"  told {name}: ").append(f"{len(titles)} message{'s' if len(titles) > 1 else ''}", "green")
        for name, titles in sorted(done.delivered.items())
    ]
    lines += [
        Text(f"  {name}: ").append(f"{problem}; its messages wait", "red")
        for name, problem in sorted(done.problems.items())
    ]
    if waiting:
        lines.append(Text(f"  {waiting} message{'s' if waiting > 1 else ''} waiting (inference-ledger alerts deliver)"))
    return lines or [Text("  nothing new to tell")]


def _ledger(config: Path | None, data_dir: Path | None) -> tuple[Settings, AlertLedger]:
    settings = load_settings(config, data_dir)
    return settings, AlertLedger(settings.alerts_dir)


def _say(
    config: Path | None, data_dir: Path | None, incident: str, change: Any, action: str, who: str, reason: str
) -> None:
    _, ledger = _ledger(config, data_dir)
    now = datetime.now(UTC)
    one = _known(lambda: ledger.change(incident, change, action=action, who=who, reason=reason, now=now))
    out.print(Text(f"{one.fingerprint[:8]} is {_state(one)}: {plain(one.finding.headline)}"))


def _known(ask: Any) -> Any:
    try:
        return ask()
    except UnknownIncidentError as error:
        _fail(str(error), code=2)


def _state(incident: Incident) -> str:
    if incident.state == "muted":
        return f"muted until {when(incident.muted_until)}"
    return f"acknowledged by {incident.acknowledged_by}" if incident.state == "acknowledged" else str(incident.state)


def _as_json(one: Incident) -> dict[str, Any]:
    finding = one.finding
    return {
        "id": one.fingerprint,
        "severity": one.severity.word,
        "state": str(one.state),
        "parent": one.parent or None,
        "children": list(one.children),
        "kind": finding.kind,
        "rule": finding.rule_id,
        "subject": finding.subject,
        "headline": plain(finding.headline),
        "money": money(finding, one.group_impact_usd_per_day),
        "impact_usd_per_day": _number(one.group_impact_usd_per_day),
        "exposed_usd_per_day": _number(finding.exposed_usd_per_day),
        "first_seen_at": finding.first_seen_at.isoformat(),
        "last_seen_at": finding.last_seen_at.isoformat(),
        "acknowledged_by": one.acknowledged_by or None,
        "muted_until": one.muted_until and one.muted_until.isoformat(),
        "note": one.note or None,
        "evidence_sql": finding.evidence_sql or None,
    }


def _number(amount: object) -> str | None:
    """Money as decimal text: a float would not be the amount."""
    return None if amount is None else str(amount)


def _who(by: str | None) -> str:
    return plain(by or pwd.getpwuid(os.getuid()).pw_name, 60)


def _fail(message: str, *, code: int = 1) -> Any:
    err.print(message, markup=False, style="red")
    raise typer.Exit(code)
