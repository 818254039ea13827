"""`inference-ledger claims`: ten claims about inference hardware, tested on facts, measurements and today's prices."""

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from orchestration.command_options import ConfigOption, DataDirOption
from orchestration.settings import PROJECT_ROOT
from orchestration.sizing_answers import ledger_or_none, published

if TYPE_CHECKING:
    from orchestration.settings import Settings
    from sizing.claims import Commitment, Judged, Price

STYLES = {"true": "green", "false": "red", "depends": "yellow", "unknown": "dim"}
CONFIGS = PROJECT_ROOT / "examples" / "model_configs"


def claims(
    number: Annotated[int | None, typer.Argument(help="One of the ten.  [default: all]", min=1, max=10)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Verdicts and figures as JSON.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Ten common claims about inference hardware, each tested: verdict, numbers, and the prices it was judged by."""
    from orchestration.sizing_inputs import known_gpus, read_model
    from sizing.claims import Evidence, judge_claims

    settings = ledger_or_none(config, data_dir)
    offers, _, note = published(settings)
    prices = cheapest_prices(offers)
    evidence = Evidence(
        large=read_model(CONFIGS / "meta-llama--Llama-3.1-70B-Instruct.json"),
        small=read_model(CONFIGS / "meta-llama--Llama-3.1-8B-Instruct.json"),
        gpus=known_gpus(),
        prices=prices,
        commitments=[] if settings is None or note is not None else committed_prices(settings),
    )
    found = [judged for judged in judge_claims(evidence) if number is None or judged.number == number]
    if as_json:
        shown = {f"{gpu} {option}": asdict(price) for (gpu, option), price in sorted(prices.items())}
        typer.echo(
            json.dumps({"claims": [asdict(one) for one in found], "prices": shown, "price_note": note}, indent=2)
        )
        return
    width = None if sys.stdout.isatty() else 110
    out = Console(highlight=False, width=width)
    if note is not None:
        out.print(Text(f"Prices: {note}.", "yellow"))
    for judged in found:
        _print(out, judged)


def cheapest_prices(offers: list[Any]) -> "dict[tuple[str, str], Price]":
    """The cheapest offer of each GPU and purchase option, with the day of its price."""
    from sizing.claims import Price

    found: dict[tuple[str, str], Price] = {}
    for offer in sorted(offers, key=lambda one: -one.usd_per_gpu_hour):
        option = offer.purchase + ("" if offer.term_months is None else f"_{offer.term_months}m")
        place = " ".join(filter(None, (offer.provider, offer.region, offer.instance_type)))
        found[offer.gpu_model, option] = Price(offer.usd_per_gpu_hour, place, offer.confirmed_date.isoformat())
    return found


# Of each GPU and commitment the offer that saves most, beside the on-demand price of the same offer.
_COMMITMENTS = """
select
    committed.gpu_model, committed.pricing_model || '_' || committed.term_months || 'm',
    concat_ws(' ', committed.provider, committed.region, committed.instance_type),
    cast(committed.price_usd_per_gpu_hour as double), cast(full_price.price_usd_per_gpu_hour as double)
from fct_gpu_prices as committed
inner join fct_gpu_prices as full_price using (provider, region, instance_type, gpu_model)
where
    committed.valid_to_at is null and full_price.valid_to_at is null and full_price.pricing_model = 'on_demand'
    and committed.term_months is not null and committed.gpu_model = ?
    and committed.price_usd_per_gpu_hour < full_price.price_usd_per_gpu_hour
qualify row_number() over (
    partition by committed.pricing_model, committed.term_months
    order by committed.price_usd_per_gpu_hour / full_price.price_usd_per_gpu_hour, committed.provider, committed.region
) = 1
order by 2
"""


def committed_prices(settings: "Settings") -> "list[Commitment]":
    """Commitments to an H100 in force, each beside its own on-demand price."""
    from orchestration.publication import open_published
    from sizing.claims import H100, Commitment

    with open_published(settings) as con:
        return [Commitment(*row) for row in con.execute(_COMMITMENTS, [H100]).fetchall()]


def _print(out: Console, judged: "Judged") -> None:
    title = Text(f"\n{judged.number}. {judged.claim}: ", "bold")
    out.print(title.append(judged.verdict, STYLES[judged.verdict]))
    out.print(f"   {judged.why[:1].upper()}{judged.why[1:]}.")
    for figure in judged.numbers:
        value = f"{figure.value:.0%}" if figure.unit == "ratio" else f"{figure.value:,.2f} {figure.unit}"
        if figure.unit in {"GPUs", "requests"}:
            value = f"{figure.value:,.0f} {figure.unit}"
        source = f"  [{figure.source}]" if figure.source else ""
        out.print(Text(f"     {figure.name}: {value}{source}"))
