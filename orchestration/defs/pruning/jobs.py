"""A day that `inference-ledger run` published prunes by itself; one that Dagster ran is followed by `prune_job`."""

from datetime import UTC, datetime

import dagster as dg

from orchestration.pruning import prune_after_run
from orchestration.run_lock import run_lock
from orchestration.settings import load_settings


@dg.op
def prune(context: dg.OpExecutionContext) -> None:
    """Removes what is older than it need be; what cannot go is named in the log, and stops nothing."""
    settings = load_settings()
    with run_lock(settings):
        for line in prune_after_run(settings, datetime.now(UTC)):
            context.log.info(line)


@dg.job(executor_def=dg.in_process_executor)
def prune_job() -> None:
    """What `inference-ledger prune --yes` does."""
    prune()


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    request_job=prune_job,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def prune_after_daily_job(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
    """Prunes after each day that Dagster ran; a day that failed leaves everything as it is."""
    from orchestration.definitions import daily_job

    run = context.dagster_run
    if run.job_name != daily_job.name:
        return dg.SkipReason(f"{run.job_name} is not {daily_job.name}")
    return dg.RunRequest(run_key=run.run_id)
