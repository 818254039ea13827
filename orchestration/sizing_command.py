"""`inference-ledger size`: does a model fit, how fast is it, where is it cheapest."""

import json
import math
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestration.command_options import ConfigOption, DataDirOption
from orchestration.sizing_answers import Answer, Offer, Priced, Question, answer, ask, ledger_or_none

if TYPE_CHECKING:
    from sizing.choices import Choice
    from sizing.throughput import Estimate

CHEAPEST_SHOWN = 5
BAR_WIDTH = 60


def size(
    model: Annotated[str, typer.Argument(help="config.json, its folder, a model of ledger.yaml, or a hub id.")],
    gpu: Annotated[str | None, typer.Option("--gpu", help="Such as L40S or H100-SXM.  [default: all]")] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="Such as bf16, fp8, awq, nvfp4.  [default: the checkpoint's]")
    ] = None,
    concurrency: Annotated[int | None, typer.Option("--concurrency", help="Requests at once that must fit.")] = None,
    context: Annotated[
        int | None, typer.Option("--context", help="Longest sequence in tokens.  [default: input + output]")
    ] = None,
    input_tokens: Annotated[int | None, typer.Option("--input-tokens", help="Prompt of a request.")] = None,
    output_tokens: Annotated[int | None, typer.Option("--output-tokens", help="Answer of a request.")] = None,
    ttft_ms: Annotated[float | None, typer.Option("--ttft-ms", help="Longest time to first token allowed.")] = None,
    tpot_ms: Annotated[float | None, typer.Option("--tpot-ms", help="Longest time per output token allowed.")] = None,
    tensor_parallel: Annotated[
        int | None, typer.Option("--tensor-parallel", help="GPUs of one engine.  [default: the best of 1, 2, 4, 8]")
    ] = None,
    pipeline_parallel: Annotated[int, typer.Option("--pipeline-parallel", help="Stages that share the layers.")] = 1,
    data_parallel: Annotated[
        int, typer.Option("--data-parallel", help="Copies of the attention in one engine, for latent models.")
    ] = 1,
    expert_parallel: Annotated[
        bool, typer.Option("--expert-parallel", help="Spread experts over the GPUs instead of cutting them.")
    ] = False,
    kv_precision: Annotated[
        str | None, typer.Option("--kv-precision", help="bf16 or fp8 cache.  [default: the checkpoint's]")
    ] = None,
    engine: Annotated[str, typer.Option("--engine", help="vllm, sglang or trtllm.")] = "vllm",
    engine_version: Annotated[
        str | None, typer.Option("--engine-version", help="vLLM accounts by version.  [default: 0.33]")
    ] = None,
    utilization: Annotated[
        float | None, typer.Option("--utilization", help="Share of the card the engine takes.  [default: its own]")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option("--method", help="measured, roofline or aiconfigurator.  [default: measured where it can be]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The answer as JSON on standard output.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Does a model fit, how fast does it answer, and where is it cheapest at today's prices."""
    from sizing.errors import SizingError

    width = None if sys.stdout.isatty() else 110
    out, err = Console(highlight=False, width=width), Console(highlight=False, soft_wrap=True, stderr=True)
    try:
        settings = ledger_or_none(config, data_dir)
        question = ask(
            settings,
            model,
            gpu=gpu,
            precision=precision,
            concurrency=concurrency,
            context=context,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            ttft_ms=ttft_ms,
            tpot_ms=tpot_ms,
            tensor_parallel=tensor_parallel,
            pipeline_parallel=pipeline_parallel,
            data_parallel=data_parallel,
            expert_parallel=expert_parallel,
            kv_precision=kv_precision,
            engine=engine,
            engine_version=engine_version,
            utilization=utilization,
            method=method,
        )
        found = answer(settings, question)
    except SizingError as error:
        err.print(Text(str(error), "red"))
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(json.dumps(_as_json(found), indent=2, default=str))
    else:
        _print(out, found)


# --- words -----------------------------------------------------------------------------------------------------------


def _print(out: Console, answer: Answer) -> None:
    question, model = answer.question, answer.question.model
    _print_model(out, question)
    shown = answer.shown
    if shown is None:
        reason = next((choice.reason for choice in answer.choices if choice.reason), "nothing fits")
        out.print(Text(f"\n{_sentence(reason)}", "red"))
    else:
        _print_memory(out, answer)
        _print_speed(out, answer)
    if question.is_one_gpu:
        _print_degrees(out, answer)
    _print_cheapest(out, answer)
    if shown is not None:
        _print_effects(out, answer)
    for note in model.notes:
        out.print(Text(f"Note: {note}.", "dim"))


def _print_model(out: Console, question: Question) -> None:
    from sizing.memory import default_kv_precision, kv_bytes_per_token, weight_bytes

    model, own = question.model, question.precisions[0]
    kv = question.kv_precision or default_kv_precision(model)
    active = f", {model.active_parameters / 1e9:.1f} billion active" if model.experts else ""
    out.print(Text(question.name, "bold").append(f" ({model.family})", "default"))
    out.print(
        f"  {model.parameters() / 1e9:,.2f} billion parameters{active}; {model.layers} layers; "
        f"weights in {own}: {weight_bytes(model, own) / 1e9:,.1f} GB"
    )
    limit = "" if model.max_context_tokens is None else f"; longest context {model.max_context_tokens:,}"
    out.print(f"  cache in {kv}: {kv_bytes_per_token(model, kv):,.0f} bytes per token{limit}")


def _print_memory(out: Console, answer: Answer) -> None:
    from sizing.memory import GIB, kv_bytes_per_sequence

    question, choice = answer.question, answer.shown
    if choice is None or choice.memory is None or choice.wall is None:
        return
    memory, wall = choice.memory, choice.wall
    total = memory.gpu.usable_gib
    buffers = memory.overheads.non_torch_gib + memory.overheads.activation_gib
    buffers += memory.overheads.graphs_gib if memory.settings.subtracts_graphs else 0
    asked = question.concurrency or 1
    one = kv_bytes_per_sequence(
        memory.model, question.context_tokens, memory.kv_precision, tensor=choice.tensor_parallel
    ).low
    used = one * math.ceil(asked / memory.parallel.data) / memory.parallel.pipeline / GIB
    spread = memory.parallel
    parts_of = [
        f"{name} {degree}"
        for name, degree in (("tensor", spread.tensor), ("pipeline", spread.pipeline), ("data", spread.data))
        if degree > 1
    ] + ["experts spread"] * spread.is_expert
    gpus = "1 GPU" if choice.gpus == 1 else f"{choice.gpus} GPUs: {', '.join(parts_of)}"
    verdict = Text("\nFits ", "green") if choice.fits else Text("\nDoes not fit ", "red")
    if choice.fits and question.concurrency is not None and wall.usable < question.concurrency:
        verdict = Text(f"\nFits, but not {question.concurrency} requests at once, ", "yellow")
    out.print(
        verdict.append(f"on {choice.gpu.name} ({gpus}), {choice.precision}, {choice.engine} ", "default").append(
            f"{memory.settings.version if choice.engine == 'vllm' else ''}", "default"
        )
    )
    parts = [
        ("weights", memory.weights_gib, "█", "blue"),
        ("buffers", buffers, "▓", "magenta"),
        (f"cache of {asked:,} x {question.context_tokens:,}", min(used, max(memory.pool_gib, 0)), "▒", "green"),
        ("free for more", max(memory.pool_gib - used, 0), "░", "default"),
    ]
    bar, drawn = Text("  "), 0
    for _, gib, sign, style in parts:
        width = min(round(gib / total * BAR_WIDTH), BAR_WIDTH - drawn)
        bar.append(sign * width, style)
        drawn += width
    left = total - sum(gib for _, gib, _, _ in parts)
    bar.append("·" * (BAR_WIDTH - drawn), "dim")
    out.print(bar.append(f"  {total:.1f} GiB per GPU", "default"))
    legend = Text("  ")
    for name, gib, sign, style in parts:
        legend.append(sign, style).append(f" {name} {gib:.1f}   ")
    out.print(legend.append(f"· left to the driver {max(left, 0):.1f} GiB"))
    if not choice.fits:
        out.print(f"  {_sentence(choice.reason or '')}. {_what_fits(answer)}")
        return
    both = memory.max_concurrency
    hybrid = "" if both.low == both.high else f" (to {both.high:,.1f} if the engine frees what its windows do not need)"
    out.print(
        f"  Room for {both.low:,.1f} sequences of {question.context_tokens:,} tokens{hybrid}: "
        f"{memory.pool_tokens.low:,.0f} tokens in {memory.pool_gib:.1f} GiB per GPU."
    )
    demand = question.demand.workload
    out.print(
        f"  Wall for requests of {demand.input_tokens:,.0f} + {demand.output_tokens:,.0f} tokens: {wall.average:,} at "
        f"once on average, {wall.worst:,} at their longest"
        + (f"; the engine takes {wall.engine:,} at most." if wall.engine < wall.average else ".")
    )


def _what_fits(answer: Answer) -> str:
    """The smallest numbers of GPUs on which it would fit, by precision."""
    fewest: dict[str, Choice] = {}
    for choice in answer.choices:
        if choice.fits and choice.tensor_parallel < getattr(fewest.get(choice.precision), "tensor_parallel", 10**6):
            fewest[choice.precision] = choice
    found = [f"{choice.gpus} x {choice.gpu.name} in {precision}" for precision, choice in fewest.items()]
    return f"It fits on {' or '.join(found)}." if found else "Nothing that was tried has room for it."


def _print_speed(out: Console, answer: Answer) -> None:
    question, choice = answer.question, answer.shown
    if choice is None or not choice.fits:
        return
    point = choice.point
    if answer.at_concurrency is not None:
        out.print(f"  At {question.concurrency} at once: {_speed(answer.at_concurrency)}.")
    if point is not None:
        under = "within the targets" if _has_targets(question) else "at its best"
        out.print(f"  Most tokens {under}: {point.concurrency:,.0f} at once, {_speed(point)}.")
        band = point.tpot_band
        out.print(
            f"  Method: {point.method}; in 80 % of held-out cases the measured TPOT was {band.low_ratio:.2f} to "
            f"{band.high_ratio:.2f} of the estimate (TTFT {point.ttft_band.low_ratio:.2f} to "
            f"{point.ttft_band.high_ratio:.2f})."
        )
    else:
        out.print(Text(f"  {_sentence(choice.reason or '')}", "yellow"))
        if choice.highest is not None:
            out.print(f"  Without targets: {choice.highest.concurrency:,.0f} at once, {_speed(choice.highest)}.")


def _has_targets(question: Question) -> bool:
    targets = question.demand.targets
    return targets.ttft_ms is not None or targets.tpot_ms is not None


def _speed(estimate: "Estimate") -> str:
    return (
        f"TTFT {estimate.ttft_ms:,.0f} ms, TPOT {estimate.tpot_ms:,.1f} ms, "
        f"{estimate.output_tokens_per_second_per_gpu:,.0f} output tokens/s per GPU"
    )


def _print_degrees(out: Console, answer: Answer) -> None:
    """One large engine or copies of a small one: each evaluated."""
    own = [choice for choice in answer.choices if choice.precision == answer.question.precisions[0]]
    if len(own) < 2:
        return
    table = _table(
        "One engine over several GPUs, or copies (each evaluated)",
        ("GPUs per engine", "verdict"),
        ("at once", "TTFT ms", "TPOT ms", "tokens/s per GPU"),
    )
    for choice in own:
        point = choice.point
        verdict = "keeps targets" if point and _has_targets(answer.question) else "fits" if point else None
        table.add_row(
            str(choice.gpus),
            verdict or _sentence(choice.reason or "")[:70],
            *(
                ("", "", "", "")
                if point is None
                else (
                    f"{point.concurrency:,.0f}",
                    f"{point.ttft_ms:,.0f}",
                    f"{point.tpot_ms:,.1f}",
                    f"{point.output_tokens_per_second_per_gpu:,.0f}",
                )
            ),
        )
    out.print()
    out.print(table)


def _print_cheapest(out: Console, answer: Answer) -> None:
    if answer.price_note is not None:
        out.print(Text(f"\nPrices: {answer.price_note}.", "yellow"))
    if not answer.priced:
        if answer.price_note is None or not any(choice.point for choice in answer.choices):
            out.print(Text(f"\n{_nothing_meets(answer)}", "yellow"))
        else:
            _print_fastest(out, answer)
        return
    table = _table(
        "Cheapest on demand (USD per million tokens, at full load)",
        ("GPU", "engine", "offer"),
        ("USD/GPU-h", "input", "output", "all", "price of"),
    )
    for one in _cheapest(answer):
        table.add_row(*_priced_cells(one))
    out.print()
    out.print(table)
    others = [one for one in answer.priced if one.offer.purchase != "on_demand"]
    best: dict[tuple[str, int | None], Priced] = {}
    for one in others:
        best.setdefault((one.offer.purchase, one.offer.term_months), one)
    for (purchase, term), one in sorted(best.items(), key=lambda item: item[1].usd_per_million_total_tokens):
        name = purchase.replace("_", " ") + ("" if term is None else f" {term} months")
        out.print(
            f"  {name}: {one.usd_per_million_total_tokens:,.3f} on {one.choice.gpu.name} "
            f"({one.choice.gpus} per engine, {one.choice.precision}), {_offer(one.offer)}, "
            f"{one.usd_per_gpu_hour:,.2f} USD/GPU-h of {one.offer.confirmed_date}"
        )


def _print_fastest(out: Console, answer: Answer) -> None:
    possible = [choice for choice in answer.choices if choice.point is not None]
    possible.sort(key=lambda choice: -(choice.tokens_per_second_per_gpu or 0))
    table = _table(
        "Fastest per GPU (no prices)", ("GPU", "engine"), ("at once", "TTFT ms", "TPOT ms", "tokens/s per GPU")
    )
    for choice in possible[:CHEAPEST_SHOWN]:
        if (point := choice.point) is None:
            continue
        table.add_row(
            choice.gpu.name,
            f"{choice.gpus} x {choice.precision}",
            f"{point.concurrency:,.0f}",
            f"{point.ttft_ms:,.0f}",
            f"{point.tpot_ms:,.1f}",
            f"{point.output_tokens_per_second_per_gpu:,.0f}",
        )
    out.print()
    out.print(table)


def _nothing_meets(answer: Answer) -> str:
    """Why no option is left, with what would work."""
    question = answer.question
    if not any(choice.fits for choice in answer.choices):
        return (
            "No option fits: take more GPUs per engine (--tensor-parallel), a smaller precision or a shorter --context."
        )
    if question.concurrency is not None and any(choice.point for choice in answer.choices):
        most = max(choice.wall.usable for choice in answer.choices if choice.wall and choice.point)
        return (
            f"No option holds {question.concurrency} requests of this size at once in one engine; the most is {most:,}."
        )
    reasons = [choice.reason for choice in answer.choices if (choice.reason or "").startswith("target_not_met")]
    return (
        f"No option keeps the targets. {_sentence(reasons[0] or '')} ({_which(answer, reasons[0])}). Allow more time."
    )


def _which(answer: Answer, reason: str | None) -> str:
    choice = next(choice for choice in answer.choices if choice.reason == reason)
    return f"{choice.gpus} x {choice.gpu.name}, {choice.precision}"


def _print_effects(out: Console, answer: Answer) -> None:
    """What precision and engine change, in dollars, beside the baseline they are measured against."""
    from sizing.choices import ENGINE_EFFECTS

    shown = answer.shown
    if shown is None:
        return
    same = {
        one.choice.precision: one
        for one in reversed(answer.priced)
        if one.choice.gpu.name == shown.gpu.name and one.offer.purchase == "on_demand"
    }
    baseline = same.get(shown.precision)
    if baseline is None:
        return
    out.print(
        f"\nBaseline: {baseline.choice.precision} on {shown.gpu.name}, {baseline.choice.engine}, on demand, "
        f"{baseline.usd_per_million_total_tokens:,.3f} USD per million tokens."
    )
    for precision, one in same.items():
        if precision != shown.precision:
            ratio = one.usd_per_million_total_tokens / baseline.usd_per_million_total_tokens
            out.print(
                f"  {precision}: {one.usd_per_million_total_tokens:,.3f} ({ratio - 1:+.0%}, "
                f"{one.choice.gpus} per engine; {one.choice.point.method if one.choice.point else ''})"
            )
    if shown.engine == "vllm":
        for engine, effect in ENGINE_EFFECTS.items():
            between = "" if effect.low_ratio is None else f", 80 % {effect.low_ratio:.2f} to {effect.high_ratio:.2f}"
            cost = baseline.usd_per_million_total_tokens / effect.ratio
            out.print(
                f"  {engine} instead of vllm: {cost:,.3f} (throughput x {effect.ratio:.2f}, the median of "
                f"{effect.pairs} measured pairs{between})"
            )


def _cheapest(answer: Answer) -> list[Priced]:
    """The cheapest on demand of each GPU and precision: five ways to serve, not one with five degrees."""
    seen: dict[tuple[str, str], Priced] = {}
    for one in answer.priced:
        if one.offer.purchase == "on_demand":
            seen.setdefault((one.choice.gpu.name, one.choice.precision), one)
    return list(seen.values())[:CHEAPEST_SHOWN]


def _priced_cells(one: Priced) -> tuple[str, ...]:
    return (
        one.choice.gpu.name,
        f"{one.choice.gpus} x {one.choice.precision}",
        _offer(one.offer),
        f"{one.usd_per_gpu_hour:,.3f}",
        f"{one.usd_per_million_input_tokens:,.3f}",
        f"{one.usd_per_million_output_tokens:,.3f}",
        f"{one.usd_per_million_total_tokens:,.3f}",
        str(one.offer.confirmed_date),
    )


def _offer(offer: Offer) -> str:
    return " ".join(filter(None, (offer.provider, offer.region, offer.instance_type)))


def _sentence(reason: str) -> str:
    text = reason.partition(": ")[2] or reason
    return text[:1].upper() + text[1:]


def _table(title: str, words: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in words:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _as_json(answer: Answer) -> dict[str, Any]:
    from sizing.memory import default_kv_precision, kv_bytes_per_token, weight_bytes

    question, model = answer.question, answer.question.model
    kv = question.kv_precision or default_kv_precision(model)
    workload, targets = question.demand.workload, question.demand.targets
    return {
        "model": question.name,
        "family": model.family,
        "parameters": model.parameters(),
        "active_parameters": model.active_parameters,
        "precision": question.precisions[0],
        "weight_bytes": round(weight_bytes(model, question.precisions[0])),
        "kv_precision": kv,
        "kv_bytes_per_token": kv_bytes_per_token(model, kv),
        "max_context_tokens": model.max_context_tokens,
        "context_tokens": question.context_tokens,
        "input_tokens": workload.input_tokens,
        "output_tokens": workload.output_tokens,
        "concurrency": question.concurrency,
        "ttft_target_ms": targets.ttft_ms,
        "tpot_target_ms": targets.tpot_ms,
        "notes": list(model.notes),
        "at_concurrency": _estimate_json(answer.at_concurrency),
        "shown": None if answer.shown is None else _choice_json(answer.shown, question),
        "choices": [_choice_json(choice, question) for choice in answer.choices],
        "cheapest": [_priced_json(one) for one in _cheapest(answer)],
        "price_note": answer.price_note,
    }


def _choice_json(choice: "Choice", question: Question) -> dict[str, Any]:
    memory, wall = choice.memory, choice.wall
    return {
        "gpu": choice.gpu.name,
        "tensor_parallel": choice.tensor_parallel,
        "gpus": choice.gpus,
        "precision": choice.precision,
        "engine": choice.engine,
        "fits": choice.fits,
        "holds_concurrency": None
        if question.concurrency is None
        else bool(wall and choice.fits and wall.usable >= question.concurrency),
        "reason": choice.reason,
        "weights_gib_per_gpu": None if memory is None else memory.weights_gib,
        "kv_pool_gib_per_gpu": None if memory is None else memory.pool_gib,
        "kv_pool_tokens": None if memory is None else memory.pool_tokens.low,
        "kv_pool_tokens_with_windows": None if memory is None else memory.pool_tokens.high,
        "max_concurrency_at_context": None if memory is None else memory.max_concurrency.low,
        "concurrency_wall": None if wall is None else wall.usable,
        "concurrency_wall_worst": None if wall is None else wall.worst,
        "point": _estimate_json(choice.point),
        "highest_throughput": _estimate_json(choice.highest),
    }


def _estimate_json(found: "Estimate | None") -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "method": found.method,
        "concurrency": found.concurrency,
        "ttft_ms": found.ttft_ms,
        "tpot_ms": found.tpot_ms,
        "output_tokens_per_second_per_gpu": found.output_tokens_per_second_per_gpu,
        "input_tokens_per_second_per_gpu": found.input_tokens_per_second_per_gpu,
        "roofline_tpot_ms": found.bound_tpot_ms,
        "tpot_ratio_low": found.tpot_band.low_ratio,
        "tpot_ratio_high": found.tpot_band.high_ratio,
        "tpot_median_error": found.tpot_band.median_error,
    }


def _priced_json(one: Priced) -> dict[str, Any]:
    return {
        "gpu": one.choice.gpu.name,
        "tensor_parallel": one.choice.tensor_parallel,
        "precision": one.choice.precision,
        "purchase": one.offer.purchase,
        "term_months": one.offer.term_months,
        "provider": one.offer.provider,
        "region": one.offer.region,
        "instance_type": one.offer.instance_type,
        "usd_per_gpu_hour": one.usd_per_gpu_hour,
        "price_date": one.offer.confirmed_date.isoformat(),
        "cost_usd_per_million_input_tokens": one.usd_per_million_input_tokens,
        "cost_usd_per_million_output_tokens": one.usd_per_million_output_tokens,
        "cost_usd_per_million_total_tokens": one.usd_per_million_total_tokens,
    }
