"""Pulls from the Prometheus servers that ledger.yaml names, landed where their reader looks."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestration.serving_logs.engine_names import families
from orchestration.settings import Settings, UsageSource
from scrapers.errors import ScrapeError
from scrapers.usage.prometheus_api import Server, pull


@dataclass(frozen=True, slots=True)
class PullsOutcome:
    """How many windows landed, and one sentence per server that did not answer them all."""

    server_count: int
    landed: int
    failures: list[str]


def pull_all(settings: Settings, *, now: datetime) -> PullsOutcome:
    """Asks every server of the usage section for what is missing; one that is down stops nothing."""
    sources = [source for source in settings.ledger.usage if source.kind == "prometheus"]
    landed = 0
    failures = []
    for source in sources:
        headers, missing = settings.usage_headers(source)
        if missing:
            failures.append(f"{source.name}: not asked; set {' and '.join(missing)}")
            continue
        try:
            outcome = pull(
                _server(source, headers),
                settings.landing_dir,
                source.name,
                now=now,
                look_back=timedelta(days=source.look_back_days),
            )
        except (ScrapeError, OSError) as error:
            failures.append(f"{source.name}: {error}")
            continue
        landed += outcome.landed
        if outcome.failure:
            failures.append(f"{source.name}: {outcome.failure}")
    return PullsOutcome(len(sources), landed, failures)


def _server(source: UsageSource, headers: dict[str, str]) -> Server:
    names = [source.token_env, source.user_env, source.password_env, *source.headers_env.values()]
    return Server(
        url=source.url or "",
        families=families(),
        matchers=(source.match or "").strip("{} ").rstrip(", "),
        headers=headers,
        credentials=" and ".join(name for name in names if name),
        step_seconds=source.step_seconds,
        extra_label=source.replica_label,
    )
