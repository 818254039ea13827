"""`inference-ledger init`: a first ledger.yaml for one deployment, from a few questions or from flags alone."""

import difflib
import json
import sys
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from orchestration.ledger_schema import SCHEMA
from orchestration.seeds import seed_rows
from orchestration.settings import ConfigError, load_settings
from scrapers.prices.base import KeyUse
from scrapers.prices.registry import PRICE_SOURCES


class Purchase(StrEnum):
    """Ways of buying that need no further facts; a commitment is written by hand into the file."""

    on_demand = "on_demand"
    spot = "spot"


def init(
    target: Annotated[Path, typer.Argument(help="File to write; never one that exists.")] = Path("ledger.yaml"),
    deployment: Annotated[str | None, typer.Option(help="Your name for what serves the model.")] = None,
    model: Annotated[str | None, typer.Option(help="Model it serves, such as Qwen/Qwen3-32B.")] = None,
    provider: Annotated[str | None, typer.Option(help="Who rents you the GPUs: aws, azure, gcp, runpod ...")] = None,
    region: Annotated[
        str | None, typer.Option(help="Region as the provider spells it; global where it has none.")
    ] = None,
    instance_type: Annotated[str | None, typer.Option(help="Instance type, such as p5.48xlarge.")] = None,
    replicas: Annotated[int | None, typer.Option(help="Copies of the model.", min=1)] = None,
    purchase: Annotated[Purchase | None, typer.Option(help="How they are bought.  [default: on_demand]")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="UTC day they run since.  [default: today]")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Where the engine's counters are: http://host:8000/metrics, a Prometheus server, or files such as "
            "'scrapes/*/*.prom'."
        ),
    ] = None,
    gateway_log: Annotated[
        str | None, typer.Option(help="LiteLLM payloads that tell who asked, such as 'logs/litellm/*.jsonl*'.")
    ] = None,
) -> None:
    """Write a commented ledger.yaml for your stack. What no flag says is asked, where there is somebody to ask."""
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    if target.exists():
        _stop(f"{target} exists; give another name, or edit it")
    types = {row["instance_type"]: row for row in seed_rows("instance_types")}
    today = datetime.now(UTC).date()
    answers = {
        "deployment": _ask("deployment", deployment, "Your name for what serves the model", "chat"),
        "model": _ask("model", model, "Model it serves", "meta-llama/Llama-3.1-8B-Instruct"),
        "provider": _ask("provider", provider, "Who rents you the GPUs", "aws"),
        "region": _ask("region", region, "Region", "us-east-1"),
        "instance_type": _ask("instance-type", instance_type, "Instance type", "g6e.xlarge"),
        "metrics": _ask(
            "metrics",
            metrics,
            "Engine counters: an address of /metrics, a Prometheus server, or files",
            "scrapes/*/*.prom",
        ),
    }
    count = replicas or int(_ask("replicas", None, "Replicas", "1"))
    begin = _day(since, today)
    hardware = types.get(answers["instance_type"])
    text = _ledger(
        answers,
        replicas=count,
        purchase=purchase or Purchase.on_demand,
        begin=begin,
        gateway_log=gateway_log,
        knows_hardware=hardware is not None and hardware["provider"] == answers["provider"],
    )
    target.write_text(text, encoding="utf-8")
    try:
        load_settings(target, target.parent / "data")
    except ConfigError:  # a name that the ledger does not take; the lines it names are those of the file not kept
        target.unlink()
        raise
    out.print(Text(f"wrote {target}"), soft_wrap=True)
    if hardware is None or hardware["provider"] != answers["provider"]:
        of_provider = [name for name, row in types.items() if row["provider"] == answers["provider"]]
        near = difflib.get_close_matches(answers["instance_type"], of_provider, n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        out.print(
            Text(f"  note: {answers['provider']} {answers['instance_type']} is not known here{hint} ", "yellow").append(
                "Else fill in gpus_per_replica and rate_usd_per_gpu_hour where the file says so."
            ),
            soft_wrap=True,
        )
    if answers["provider"] not in PRICE_SOURCES:
        out.print(
            Text(
                f"  note: no price list of {answers['provider']} can be read; write its prices into an override file "
                "(docs/operations.md)",
                "yellow",
            ),
            soft_wrap=True,
        )
    elif (key := PRICE_SOURCES[answers["provider"]]).key is KeyUse.REQUIRED:
        out.print(f"  note: set {key.api_key_env} to read the prices of {answers['provider']}")
    out.print("next: inference-ledger check-config, then inference-ledger run")


def _ask(name: str, given: str | None, question: str, example: str) -> str:
    """The flag's value, else what the person answers; without a person the flag is missing."""
    if given is not None:
        return given
    if not sys.stdin.isatty():
        _stop(f"--{name} is missing: {question[0].lower()}{question[1:]}, such as {example}")
    return str(typer.prompt(question, default=example))


def _day(text: str | None, today: date) -> date:
    try:
        return today if text is None else date.fromisoformat(text)
    except ValueError:
        _stop(f"--since {text!r} is not a date; write YYYY-MM-DD")
        raise


def _stop(message: str) -> None:
    typer.echo(message, err=True)
    raise typer.Exit(2)


def _ledger(
    answers: dict[str, str],
    *,
    replicas: int,
    purchase: Purchase,
    begin: date,
    gateway_log: str | None,
    knows_hardware: bool,
) -> str:
    """The text of the file. Answers stand in it as JSON strings, which YAML reads as they are."""
    said = {name: json.dumps(value, ensure_ascii=False) for name, value in answers.items()}
    source = PRICE_SOURCES.get(answers["provider"])
    regions = f"{{regions: [{said['region']}]}}" if source is not None and source.default_regions else "{}"
    sources = "{}" if source is None else f"\n    {answers['provider']}: {regions}"
    if not answers["metrics"].startswith(("http://", "https://")):
        counters = f"kind: metrics, path: {said['metrics']}, deployment: {said['deployment']}"
    elif answers["metrics"].rstrip("/").endswith("/metrics"):
        counters = f"kind: metrics, url: {said['metrics']}, deployment: {said['deployment']}"
    else:
        counters = f"kind: prometheus, url: {said['metrics']}, deployments: {{{said['model']}: {said['deployment']}}}"
    gateway = (
        f"  - {{name: gateway, kind: litellm, path: {json.dumps(gateway_log)}, deployments: {{{said['model']}: "
        f"{said['deployment']}}}}} # by model group or model"
        if gateway_log is not None
        else '  # - {name: gateway, kind: litellm, path: "logs/litellm/*.jsonl*", deployments: {my-model: '
        f"{said['deployment']}}}}}"
    )
    hardware = (
        ""
        if knows_hardware
        else "    # gpus_per_replica: 1 # this instance type is not known here, so say how many GPUs a replica has\n"
    )
    rate = "" if knows_hardware else " # and, inside the braces, rate_usd_per_gpu_hour: your price"
    return f"""\
# yaml-language-server: $schema={SCHEMA}
# What is paid for and what is served. `inference-ledger check-config` names each mistake, and what is still missing.
# Instants are UTC; `from` belongs to an interval, `to` does not; without `to` it is open.

prices:
  # contact: finops@example.com # sent in the User-Agent of each request
  # overrides: [contracts.csv] # negotiated prices, and those that no machine can read (docs/operations.md)
  # Public price lists; docs/providers/README.md lists all that can be read.
  sources: {sources}

# One entry per way of buying; a deployment may have several, on the same hardware.
fleet:
  - deployment: {said["deployment"]}
    model: {said["model"]}
    provider: {said["provider"]}
    region: {said["region"]}
    instance_type: {said["instance_type"]}
{hardware}    replicas: {replicas}
    pricing: {{model: {purchase}}}{rate}
    from: {begin}T00:00Z

# What is paid for whether used or not; an entry that uses it says pricing: {{model: reserved, commitment: my-1y}}.
# commitments:
#   - {{id: my-1y, provider: {said["provider"]}, region: {said["region"]}, instance_type: {said["instance_type"]},
#      count: 1, term_months: 12, payment_option: no_upfront, from: {begin}T00:00Z}}

# Engine counters are the truth of volume; a gateway's log tells who asked (docs/usage/README.md).
usage:
  - {{name: engine, {counters}}}
{gateway}

# Who the teams in the gateway's log are.
# tenants:
#   - {{tenant: search, team: Search, cost_center: "4300", match: [team-search]}}

# The cloud's bill goes before every other rate, once it is there (docs/billing.md).
# billing:
#   - {{name: bill, kind: focus, path: "bills/*/*.csv.gz"}}

# Who is told (docs/alerts.md); the address is a secret and stands in the environment.
# alerts:
#   channels: [{{name: team, url_env: LEDGER_ALERT_URL, min_severity: warning}}]
"""
