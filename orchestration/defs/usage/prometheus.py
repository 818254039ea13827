"""Engine counters from Prometheus servers."""

from datetime import UTC, datetime

import dagster as dg

from orchestration.prometheus_pulls import pull_all
from orchestration.settings import load_settings


@dg.asset(
    key=["landing", "prometheus"],
    group_name="landing",
    kinds={"python", "prometheus"},
    owners=["team:platform"],
    check_specs=[
        dg.AssetCheckSpec("every_server_answered", asset=dg.AssetKey(["landing", "prometheus"])),
    ],
)
def landing_prometheus(context: dg.AssetExecutionContext):
    """The samples that each Prometheus server of ledger.yaml has and the landing room lacks, hour by hour."""
    outcome = pull_all(load_settings(), now=datetime.now(UTC))
    for failure in outcome.failures:
        context.log.warning(failure)
    yield dg.MaterializeResult(metadata={"windows": outcome.landed, "failed": len(outcome.failures)})
    yield dg.AssetCheckResult(
        check_name="every_server_answered",
        passed=not outcome.failures,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(outcome.failures) or f"{outcome.server_count} servers, {outcome.landed} windows",
    )
