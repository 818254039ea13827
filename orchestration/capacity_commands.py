"""`inference-ledger plan` and `backtest-capacity`: how much to reserve, and how well that choice does."""

import json
import re
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from orchestration.command_options import ConfigOption, DataDirOption
from orchestration.settings import PROJECT_ROOT, Settings, load_settings

capacity_app = typer.Typer()
out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, soft_wrap=True, stderr=True)

TokensOption = Annotated[
    float | None,
    typer.Option("--tokens-per-second-per-gpu", help="Throughput that turns a demand in tokens into GPUs."),
]


_OF_A_MODEL: Any = {"rich_help_panel": "A fleet for a model: with --model and --requests"}


class Purchase(StrEnum):
    """How GPUs can be bought, as in `fct_gpu_prices.pricing_model`."""

    ON_DEMAND = "on_demand"
    SPOT = "spot"
    RESERVED = "reserved"
    SAVINGS_PLAN = "savings_plan"
    COMMITTED_USE = "committed_use"


@capacity_app.command("plan")
def plan(
    pool: Annotated[
        str | None, typer.Option("--pool", help="Pools whose provider/region/GPU contains this.  [default: all]")
    ] = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", help="Pools, or for a model GPUs, whose name contains this, such as H100.")
    ] = None,
    demand: Annotated[
        Path | None,
        typer.Option(
            "--demand",
            exists=True,
            dir_okay=False,
            help="CSV with an hourly demand (ts, gpus or tokens) to plan instead.",
        ),
    ] = None,
    on_demand_usd: Annotated[
        str | None,
        typer.Option("--on-demand-usd", help="With --demand: USD per GPU-hour.  [default: the price book's, by --gpu]"),
    ] = None,
    committed: Annotated[
        list[str] | None,
        typer.Option(
            "--committed",
            metavar="MONTHS=USD[+UPFRONT]",
            help="With --demand: a commitment; may be given several times.",
        ),
    ] = None,
    step_gpus: Annotated[
        int, typer.Option("--step-gpus", help="With --demand: GPUs that are committed together.", min=1)
    ] = 1,
    tokens_per_second_per_gpu: TokensOption = None,
    fleet: Annotated[
        Path | None,
        typer.Option(
            "--fleet",
            exists=True,
            dir_okay=False,
            help="CSV with bucket, requests_per_second, gpu, max_requests_per_second, usd_per_hour (and stock): the "
            "cheapest mix of GPU types for it.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="config.json, its folder, a model of ledger.yaml, or a hub id.", **_OF_A_MODEL),
    ] = None,
    requests: Annotated[
        Path | None,
        typer.Option(
            "--requests",
            exists=True,
            dir_okay=False,
            help="CSV with input_tokens, output_tokens, requests_per_second (and bucket, cached_input_tokens; ts or "
            "hour for a load curve): the cheapest mix of GPU types for these requests at the price book's prices, and "
            "how many replicas of one type, so that hardly any request waits.",
            **_OF_A_MODEL,
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="Such as fp8.  [default: the checkpoint's]", **_OF_A_MODEL)
    ] = None,
    ttft_ms: Annotated[
        float | None,
        typer.Option("--ttft-ms", help="Longest time to first token allowed.", min=0.001, **_OF_A_MODEL),
    ] = None,
    tpot_ms: Annotated[
        float | None, typer.Option("--tpot-ms", help="Longest time per output token.", min=0.001, **_OF_A_MODEL)
    ] = None,
    purchase: Annotated[
        Purchase, typer.Option("--purchase", help="How the GPUs are bought.", **_OF_A_MODEL)
    ] = Purchase.ON_DEMAND,
    max_wait_seconds: Annotated[
        float, typer.Option("--max-wait-seconds", help="Longest wait for a slot allowed.", min=0, **_OF_A_MODEL)
    ] = 1.0,
    max_wait_share: Annotated[
        float,
        typer.Option(
            "--max-wait-share",
            help="Share of the requests that may wait longer.",
            min=1e-9,
            max=0.999,
            **_OF_A_MODEL,
        ),
    ] = 0.01,
    arrivals_scv: Annotated[
        float,
        typer.Option(
            "--arrivals-scv",
            help="Burstiness: squared variation of the time between requests; 1 is Poisson.",
            min=0,
            **_OF_A_MODEL,
        ),
    ] = 1.0,
    spares: Annotated[
        int, typer.Option("--spares", help="Replicas more than the load needs.", min=0, **_OF_A_MODEL)
    ] = 1,
    zones: Annotated[
        int, typer.Option("--zones", help="Zones they stand in; with several one may be lost.", min=1, **_OF_A_MODEL)
    ] = 1,
    cold_start_minutes: Annotated[
        float,
        typer.Option(
            "--cold-start-minutes", help="How long a replica takes until it serves.", min=0, max=10_080, **_OF_A_MODEL
        ),
    ] = 5.0,
    svg: Annotated[
        Path | None, typer.Option("--svg", help="Write the load duration curve of the first plan here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """How many GPUs to commit to, and what that saves against which baseline; or which GPUs a model takes."""
    from orchestration.capacity_report import (
        Report,
        as_data,
        demand_report,
        draw_svg,
        fleet_data,
        fleet_lines,
        parse_offer,
        plan_fleet,
        price_book_market,
        published_reports,
        report_lines,
    )
    from orchestration.publication import open_published
    from sizing.commitments import Market

    reports: list[Report] = []
    try:
        if fleet is not None:
            found, alone = plan_fleet(fleet)
            if as_json:
                out.file.write(json.dumps(fleet_data(found, alone), indent=2) + "\n")
            else:
                _print(fleet_lines(found, alone))
            return
        if model is not None or requests is not None:
            if model is None or requests is None:
                _fail("--model and --requests go together: which model, and what it is asked")
            _plan_for_model(
                load_settings(config, data_dir),
                model,
                requests,
                as_json=as_json,
                gpu=gpu,
                precision=precision,
                targets=(ttft_ms, tpot_ms),
                purchase=purchase.value,
                max_wait_seconds=max_wait_seconds,
                max_wait_share=max_wait_share,
                arrivals_scv=arrivals_scv,
                spare_replicas=spares,
                zones=zones,
                cold_start_seconds=round(cold_start_minutes * 60),
            )
            return
        if demand is None:
            if on_demand_usd is not None or committed:
                _fail("--on-demand-usd and --committed go with --demand; without it the price book is used")
            settings = load_settings(config, data_dir)
            target = float(settings.ledger.capacity.target_utilization)
            with open_published(settings) as con:
                reports = published_reports(con, pool=pool, gpu=gpu, target_utilization=target)
            if not reports:
                words = " and ".join(word for word in (pool, gpu) if word)
                _fail(f"no pool of GPUs fits {words}" if words else "no fleet is in the ledger: nothing to plan")
        else:
            from orchestration.capacity_demand import read_demand

            series = read_demand(demand, tokens_per_second_per_gpu=tokens_per_second_per_gpu)
            if on_demand_usd is not None:
                offers = [parse_offer(text) for text in committed or []]
                market, source = Market(_usd("--on-demand-usd", on_demand_usd), offers, step_gpus=step_gpus), ""
            elif pool or gpu:
                with open_published(load_settings(config, data_dir)) as con:
                    source, market = price_book_market(con, pool=pool, gpu=gpu, step_gpus=step_gpus)
            else:
                _fail("say what a GPU-hour costs: --on-demand-usd 4 --committed 12=2.40, or --gpu for the price book's")
            reports = [
                demand_report(
                    f"{one.name} at the prices of {source}" if source else one.name,
                    one.gpus,
                    market,
                    unit=one.unit,
                    missing_hours=one.missing_hours,
                )
                for one in series
            ]
    except (ValueError, FileNotFoundError) as error:
        _fail(str(error))
    if svg is not None:
        svg.write_text(draw_svg(reports[0]), encoding="utf-8")
    if as_json:
        out.file.write(json.dumps([as_data(report) for report in reports], indent=2) + "\n")
        return
    for number, report in enumerate(reports):
        _print(["", *report_lines(report)] if number else report_lines(report))


def _plan_for_model(
    settings: Settings,
    model: str,
    requests: Path,
    *,
    as_json: bool,
    targets: tuple[float | None, float | None],
    gpu: str | None,
    precision: str | None,
    purchase: str,
    **staffing: Any,
) -> None:
    from orchestration.fleet_plan import plan_data, plan_for_model, plan_lines
    from orchestration.fleet_replicas import Staffing
    from sizing.throughput import Targets

    found = plan_for_model(
        settings,
        model,
        requests,
        gpu=gpu,
        precision=precision,
        targets=Targets(*targets),
        purchase=purchase,
        staffing=Staffing(**staffing),
    )
    if as_json:
        out.file.write(json.dumps(plan_data(found), indent=2) + "\n")
    else:
        _print(plan_lines(found))


@capacity_app.command("backtest-capacity")
def backtest_capacity(
    demand: Annotated[
        Path | None,
        typer.Argument(
            exists=True, dir_okay=False, help="CSV: ts, gpus or tokens per hour, and series where there are several."
        ),
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option("--samples", help="Folder with the recorded traces.  [default: the shared samples, if there]"),
    ] = None,
    on_demand_usd: Annotated[str, typer.Option("--on-demand-usd", help="USD per GPU-hour on demand.")] = "4",
    committed_usd: Annotated[
        list[str] | None,
        typer.Option("--committed-usd", help="USD per GPU-hour committed; each is tried.  [default: 1.6 and 2.4]"),
    ] = None,
    tokens_per_second_per_gpu: TokensOption = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the weeks made from the traces.")] = 1,
) -> None:
    """Choose commitments for weeks that are held out, and compare with the best that could have been chosen."""
    from orchestration.capacity_backtest import COMMITTED_USD, demand_shapes, report
    from orchestration.capacity_demand import read_demand

    shared = PROJECT_ROOT.parent / "shared" / "samples"
    if samples is None and demand is None and shared.is_dir():
        samples = shared
    if demand is None and samples is None:
        _fail("give a CSV file with an hourly demand, or --samples with the folder of the traces")
    try:
        demands = {} if samples is None else demand_shapes(samples, seed=seed)
        if demand is not None:
            demands[demand.name] = read_demand(demand, tokens_per_second_per_gpu=tokens_per_second_per_gpu)
        rates = [_usd("--committed-usd", text) for text in committed_usd or []] or list(COMMITTED_USD)
        for line in report(demands, committed_usd=rates, on_demand_usd=_usd("--on-demand-usd", on_demand_usd)):
            out.print(line, markup=False)
    except (ValueError, FileNotFoundError) as error:
        _fail(str(error))


def _usd(option: str, text: str) -> Decimal:
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise ValueError(f"{option} {text!r}: write USD per GPU-hour, such as 2.40")
    try:
        price = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{option} {text!r}: write USD per GPU-hour, such as 2.40") from None
    if not price:
        raise ValueError(f"{option} {text!r}: a price is above 0")
    return price


def _print(lines: list[str]) -> None:
    for line in lines:
        out.print(line, markup=False)


def _fail(message: str) -> NoReturn:
    err.print(message, markup=False, style="red")
    raise typer.Exit(2)
