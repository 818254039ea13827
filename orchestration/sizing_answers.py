"""A question of `inference-ledger size`, and its answer: names resolved, choices evaluated, prices laid beside."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.settings import ConfigError, Settings, load_settings, model_hub

if TYPE_CHECKING:
    from sizing.choices import Choice, Demand
    from sizing.gpus import Gpu
    from sizing.memory import EngineSettings, Parallel
    from sizing.model_config import Model
    from sizing.throughput import Estimate, Estimator

DEFAULT_INPUT_TOKENS, DEFAULT_OUTPUT_TOKENS = 1000, 300
PURCHASES = ("on_demand", "spot", "reserved", "savings_plan", "committed_use")


@dataclass(frozen=True)
class Offer:
    """One price in force: USD per GPU-hour as it stands in the price book."""

    gpu_model: str
    purchase: str
    term_months: int | None
    provider: str
    region: str
    instance_type: str | None
    gpu_count: float | None
    usd_per_gpu_hour: float
    confirmed_date: date

    def usd_per_gpu_hour_of(self, gpus: int) -> float | None:
        """What a GPU of one engine costs where whole instances are paid; None where it is too small."""
        if self.instance_type is None or self.gpu_count is None:
            return self.usd_per_gpu_hour  # bare GPUs, as many as one wants
        copies = int(self.gpu_count // gpus)
        return None if copies < 1 else self.usd_per_gpu_hour * self.gpu_count / (copies * gpus)


@dataclass(frozen=True)
class Priced:
    """A choice with the cheapest offer for it."""

    choice: "Choice"
    offer: Offer
    usd_per_gpu_hour: float
    usd_per_million_output_tokens: float
    usd_per_million_input_tokens: float
    usd_per_million_total_tokens: float


def ledger_or_none(config: Path | None, data_dir: Path | None) -> Settings | None:
    """The ledger; None where there is none and none was asked for: physics needs no ledger."""
    try:
        return load_settings(config, data_dir)
    except ConfigError:
        if config is not None or data_dir is not None or Path("ledger.yaml").exists():
            raise
        return None


@dataclass(frozen=True)
class Question:
    """What was asked, with names resolved."""

    name: str
    model: "Model"
    gpus: tuple["Gpu", ...]
    precisions: tuple[str, ...]
    demand: "Demand"
    context_tokens: int
    concurrency: int | None
    degrees: tuple[int, ...]
    spread: "Parallel"
    kv_precision: str | None
    engine_settings: "EngineSettings"
    method: str | None
    is_one_gpu: bool


@dataclass(frozen=True)
class Answer:
    """Everything that is printed, or written as JSON."""

    question: Question
    choices: tuple["Choice", ...]
    shown: "Choice | None"
    at_concurrency: "Estimate | None"
    priced: tuple[Priced, ...]
    price_note: str | None


def ask(settings: Settings | None, name: str, **asked: Any) -> Question:
    """Resolves the names of a question; raises SizingError where one of them cannot be."""
    from orchestration.sizing_inputs import find_model, known_gpus
    from sizing.choices import DEGREES, Demand
    from sizing.errors import SizingError
    from sizing.gpus import find_gpu
    from sizing.memory import CURRENT_VLLM, EngineSettings, Parallel, check_parallel, context_of, kv_bytes_per_token
    from sizing.precision import precision_named, scheme_for
    from sizing.throughput import Targets, Workload

    hub_url, token = model_hub()
    configured = {} if settings is None else settings.model_configs()
    model = find_model(name, configured, hub_url=hub_url, token=token)
    gpus = known_gpus()
    chosen = tuple(gpus.values()) if asked["gpu"] is None else (find_gpu(asked["gpu"], gpus),)
    for option, least in (("concurrency", 1), ("context", 1), ("input_tokens", 1), ("output_tokens", 1)):
        if asked[option] is not None and asked[option] < least:
            raise SizingError(
                f"--{option.replace('_', '-')} is {asked[option]}; zero load needs no GPU, give 1 or more"
            )
    for option in ("ttft_ms", "tpot_ms"):
        if asked[option] is not None and not asked[option] > 0:
            raise SizingError(f"--{option.replace('_', '-')} is {asked[option]:g}; give more than 0 milliseconds")
    if asked["kv_precision"] is not None:
        kv_bytes_per_token(model, asked["kv_precision"])  # says which there are
    output = asked["output_tokens"] or DEFAULT_OUTPUT_TOKENS
    context = asked["context"]
    if asked["input_tokens"] is None and context is not None:
        output = asked["output_tokens"] or min(DEFAULT_OUTPUT_TOKENS, max(context // 4, 1))
        inputs = max(context - output, 1)
    else:
        inputs = asked["input_tokens"] or DEFAULT_INPUT_TOKENS
    context = context_of(model, context or inputs + output)
    if context < inputs + output:
        raise SizingError(
            f"--context {context} is shorter than a request of {inputs} input and {output} output tokens; "
            f"give {inputs + output} or more"
        )
    own = scheme_for(model).name if asked["precision"] is None else precision_named(asked["precision"]).name
    others = () if asked["precision"] is not None or asked["method"] == "aiconfigurator" else ("fp8", "awq")
    degrees: tuple[int, ...] = DEGREES
    spread = Parallel(
        pipeline=asked["pipeline_parallel"], data=asked["data_parallel"], is_expert=asked["expert_parallel"]
    )
    check_parallel(model, spread)
    if asked["tensor_parallel"] is not None:
        check_parallel(model, replace(spread, tensor=asked["tensor_parallel"]))
        degrees = (asked["tensor_parallel"],)
    if asked["method"] not in {None, "measured", "roofline", "aiconfigurator"}:
        raise SizingError(f"--method {asked['method']!r} is not known; write measured, roofline or aiconfigurator")
    return Question(
        name=name,
        model=model,
        gpus=chosen,
        precisions=tuple(dict.fromkeys((own, *(scheme_for(model, other).name for other in others)))),
        demand=Demand("asked", Workload(inputs, output), Targets(asked["ttft_ms"], asked["tpot_ms"])),
        context_tokens=context,
        concurrency=asked["concurrency"],
        degrees=degrees,
        spread=spread,
        kv_precision=asked["kv_precision"],
        engine_settings=EngineSettings(
            asked["engine"], asked["engine_version"] or CURRENT_VLLM, utilization=asked["utilization"]
        ),
        method=asked["method"],
        is_one_gpu=asked["gpu"] is not None,
    )


def answer(settings: Settings | None, question: Question) -> Answer:
    """Evaluates every combination asked for and lays the prices in force beside what is possible."""
    from sizing.choices import Setup, evaluate

    offers, served, note = published(settings)
    estimators = _estimators(question, served)
    choices = [
        choice
        for gpu in question.gpus
        for precision in question.precisions
        for degree in question.degrees
        for choice in evaluate(
            question.model,
            Setup(
                gpu,
                degree,
                precision,
                question.engine_settings.engine,
                question.kv_precision,
                question.engine_settings,
                question.context_tokens,
                question.spread,
            ),
            [question.demand],
            estimators.get((gpu.name, degree, precision, question.engine_settings.engine), estimators.get("all")),
        )
    ]
    priced = _priced(choices, offers, question.concurrency)
    shown = _shown(question, choices, priced)
    if note is None and not priced and any(choice.point for choice in choices):
        names = sorted({choice.gpu.name for choice in choices if choice.point})
        note = f"no price in force for {', '.join(names)}: add a price source that lists it, or an override"
    return Answer(question, tuple(choices), shown, _at_concurrency(question, shown, estimators), tuple(priced), note)


def _at_concurrency(
    question: Question, shown: "Choice | None", estimators: "Mapping[Any, Estimator]"
) -> "Estimate | None":
    """What is shown, at the concurrency that was asked for."""
    from sizing.throughput import Deployment, estimate

    if question.concurrency is None or shown is None or shown.memory is None or not shown.fits:
        return None
    key = (shown.gpu.name, shown.tensor_parallel, shown.precision, shown.engine)
    estimator = estimators.get(key, estimators.get("all"))
    return estimate(Deployment(shown.memory), question.demand.workload, question.concurrency, estimator)


def published(settings: Settings | None) -> tuple[list[Offer], list[Any], str | None]:
    """Prices in force and own telemetry, from the published file; else why there are none."""
    if settings is None:
        return [], [], "no ledger.yaml here: no prices, physics only (give one with --config)"
    if not settings.published_database.exists():
        return [], [], f"nothing is published in {settings.published_dir}: no prices; run `inference-ledger run` first"
    import duckdb

    from orchestration.publication import open_published
    from orchestration.serving_points import read_served

    try:
        with open_published(settings) as con:
            offers = [Offer(*row) for row in con.execute(_OFFERS, [list(PURCHASES)]).fetchall()]
            has_points = con.execute(
                "select 1 from duckdb_tables() where table_name = 'fct_serving_points_hourly'"
            ).fetchone()
            served = read_served(con, "fct_serving_points_hourly") if has_points else []
    except duckdb.Error as error:
        first = str(error).splitlines()[0]
        return [], [], f"{settings.published_database} cannot be read ({first}): no prices; run `inference-ledger run`"
    return offers, served, None if offers else "the published file holds no price of a GPU in force"


# The cheapest offer of each GPU, purchase option and size of instance; a price set by hand goes in as it stands.
_OFFERS = """
select
    gpu_model, pricing_model, term_months, provider, region, instance_type, cast(gpu_count as double),
    cast(price_usd_per_gpu_hour as double), cast(last_seen_at as date)
from fct_gpu_prices
where
    valid_to_at is null and price_usd_per_gpu_hour > 0 and gpu_model is not null
    and pricing_model in (select unnest(?))
qualify row_number() over (
    partition by gpu_model, pricing_model, term_months, instance_type is null, gpu_count
    order by price_usd_per_gpu_hour, provider, region, instance_type
) = 1
"""


def _estimators(question: Question, served: list[Any]) -> dict[Any, Any]:
    """Who estimates: by (GPU, degree, precision, engine), and under `all` for the rest."""
    from orchestration.serving_points import calibrated
    from sizing.errors import SizingError

    if question.method == "aiconfigurator":
        from sizing.aiconfigurator import AIConfigurator

        if not question.is_one_gpu or len(question.degrees) > 1:
            raise SizingError("aiconfigurator takes seconds for each estimate: name one --gpu and --tensor-parallel")
        return {"all": AIConfigurator(question.name)}
    if question.method == "roofline":
        return {}
    own, engine = question.precisions[0], question.engine_settings.engine
    found = calibrated(
        served,
        question.name,
        question.model,
        {gpu.name: gpu for gpu in question.gpus},
        own,
        engine,
        question.kv_precision,
    )
    if question.method == "measured" and not found:
        raise SizingError(
            f"no telemetry of {question.name} on these GPUs is published: measured needs three hours with requests of "
            f"a deployment; take --method roofline"
        )
    return dict(found)


def _priced(choices: Iterable["Choice"], offers: list[Offer], concurrency: int | None) -> list[Priced]:
    """Every choice that keeps the targets, with its cheapest offer of each purchase option, cheapest first."""
    by_gpu: dict[str, list[Offer]] = {}
    for offer in offers:
        by_gpu.setdefault(offer.gpu_model, []).append(offer)
    found = []
    for choice in choices:
        if choice.point is None or (concurrency is not None and choice.wall and choice.wall.usable < concurrency):
            continue
        best: dict[tuple[str, int | None], tuple[float, Offer]] = {}
        for offer in by_gpu.get(choice.gpu.name, []):
            price = offer.usd_per_gpu_hour_of(choice.gpus)
            key = (offer.purchase, offer.term_months)
            if price is not None and (key not in best or price < best[key][0]):
                best[key] = (price, offer)
        for price, offer in best.values():
            per_second = price / 3600 / choice.point.output_tokens_per_second_per_gpu
            share, workload = choice.point.prefill_share_ratio, choice.demand.workload
            per_request = per_second * workload.output_tokens
            found.append(
                Priced(
                    choice,
                    offer,
                    price,
                    per_request * (1 - share) / workload.output_tokens * 1e6,
                    per_request * share / workload.input_tokens * 1e6,
                    per_request / (workload.input_tokens + workload.output_tokens) * 1e6,
                )
            )
    return sorted(found, key=lambda one: one.usd_per_million_total_tokens)


def _shown(question: Question, choices: list["Choice"], priced: list[Priced]) -> "Choice | None":
    """The choice whose memory is drawn: the cheapest, else the fastest per GPU, else what comes closest to fitting."""
    own = [choice for choice in choices if choice.precision == question.precisions[0]]
    enough = [
        choice
        for choice in own
        if choice.fits
        and (question.concurrency is None or (choice.wall and choice.wall.usable >= question.concurrency))
    ]
    within = [choice for choice in enough if choice.point is not None]
    for one in priced:
        if one.choice in within and one.offer.purchase == "on_demand":
            return one.choice
    if within:
        return max(within, key=lambda choice: choice.tokens_per_second_per_gpu or 0)
    if enough:
        return enough[0]
    cut = [choice for choice in own if choice.memory is not None]
    return max(cut, key=lambda choice: choice.wall.usable if choice.wall else 0, default=None) if cut else None
