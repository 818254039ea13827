"""Runs that Dagster itself started tell when they are over, and what could not be delivered is tried again."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg

from orchestration.alerts.day import deliver_alerts, look_at_run
from orchestration.alerts.ledger import AlertLedger
from orchestration.settings import load_settings

RETRY_SECONDS = 60


def _take_up(context: dg.RunStatusSensorContext) -> dg.SkipReason | None:
    from orchestration.definitions import daily_job, failures_of

    run = context.dagster_run
    if run.job_name != daily_job.name:
        return dg.SkipReason(f"{run.job_name} is not {daily_job.name}")
    events = [entry.dagster_event for entry in context.instance.all_logs(run.run_id) if entry.dagster_event is not None]
    started = context.instance.get_run_stats(run.run_id).start_time
    text = run.run_config.get("ops", {}).get("raw__ledger_run", {}).get("config", {}).get("date", "")
    begun = datetime.fromtimestamp(started, UTC) if started else datetime.now(UTC)
    failures, is_published = failures_of(events)
    look_at_run(
        load_settings(),
        failures,
        is_published=is_published,
        day=date.fromisoformat(text) if text else begun.date() - timedelta(days=1),
        now=datetime.now(UTC),
    )
    deliver_alerts(load_settings())
    return None


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS, default_status=dg.DefaultSensorStatus.RUNNING, name="alerts_after_success"
)
def alerts_after_success(context: dg.RunStatusSensorContext):
    """The sign of life of a day that was published, and what its run has to tell."""
    return _take_up(context)


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.FAILURE, default_status=dg.DefaultSensorStatus.RUNNING, name="alerts_after_failure"
)
def alerts_after_failure(context: dg.RunStatusSensorContext):
    """A day that could not be published is told."""
    return _take_up(context)


@dg.sensor(minimum_interval_seconds=RETRY_SECONDS, default_status=dg.DefaultSensorStatus.RUNNING)
def deliver_waiting_alerts(context: dg.SensorEvaluationContext):
    """Sends what waits in the outbox: after quiet hours, and after a channel did not answer."""
    settings = load_settings()
    if not settings.ledger.alerts.channels or not AlertLedger(settings.alerts_dir).waiting_count():
        return dg.SkipReason("no message waits")
    done = deliver_alerts(settings)
    count = sum(len(titles) for titles in done.delivered.values())
    return dg.SkipReason("; ".join([f"{count} delivered", *(f"{name}: {why}" for name, why in done.problems.items())]))
