"""`ledger.yaml` and the environment, read once and validated.

The only module that reads environment variables. A mistake in the file raises `ConfigError`, whose text names the
file, the line, the path of the field (`fleet[1].pricing.commitment`) and the remedy; all mistakes are listed at once.
"""

import contextlib
import difflib
import hashlib
import os
import re
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from orchestration.alerts.incidents import ExpectedChange, Severity
from orchestration.inventory_kinds import INVENTORY_KINDS
from orchestration.usage_kinds import USAGE_KIND_ALIASES, USAGE_KINDS, Role
from scrapers.prices.base import KeyUse, SourceOptions
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.usage.prometheus_api import basic
from sizing.errors import SizingError
from sizing.precision import precision_named

PROJECT_ROOT = Path(__file__).parents[1]
DBT_DIR = PROJECT_ROOT / "dbt"

# The bill of a month is final some days after its end (docs/closing.md).
CLOSE_AFTER_DAYS = 10

CONFIG_ENV = "LEDGER_CONFIG"
DATA_DIR_ENV = "LEDGER_DATA_DIR"
WAREHOUSE_ENV = "LEDGER_WAREHOUSE"
DBT_TARGET_ENV = "DBT_TARGET_PATH"
# Where models are published, and the key for those behind a login; the names of the hub's own tools.
HUB_URL_ENV, HUB_TOKEN_ENV = "HF_ENDPOINT", "HF_TOKEN"  # noqa: S105 - names of variables
HUB_URL = "https://huggingface.co"

# What DuckDB may take of the machine: dbt/macros/limits.sql reads the same variables for dbt's own connections.
MEMORY_LIMIT_ENV = "LEDGER_MEMORY_LIMIT"
THREADS_ENV = "LEDGER_THREADS"
TEMP_DIRECTORY_ENV = "LEDGER_TEMP_DIRECTORY"
# What goes beyond is put aside on disk. Not all that DuckDB uses is held to its limit, and the rest of a run (Python,
# Dagster, Great Expectations) needs some 600 MB.
DEFAULT_MEMORY_LIMIT = "60%"

_MEMORY_LIMIT = re.compile(r"^([1-9]\d{0,5}(\.\d+)? ?[KMGT]i?B|[1-9]\d?%)$")
_THREADS = re.compile(r"^[1-9]\d{0,3}$")

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$")


class ConfigError(Exception):
    """`ledger.yaml` is missing or wrong. `problems` holds one readable line per mistake."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        self.path = path
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{path}: {count}", *(f"  {problem}" for problem in problems)]))


WRITE_AN_INSTANT = "write an instant in UTC, such as 2026-09-01T00:00Z, or a date such as 2026-09-01"


def _utc(value: object) -> object:
    if isinstance(value, int | float):
        raise ValueError(WRITE_AN_INSTANT)  # noqa: TRY004 - pydantic reports ValueError as a mistake of the field
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(WRITE_AN_INSTANT) from None
        if value.tzinfo is None:
            if value.time() != datetime.min.time():
                raise ValueError("has no time zone; add Z for UTC, such as 2026-09-01T06:00Z")
            value = value.replace(tzinfo=UTC)
        if not 2000 <= value.year <= 2100:
            raise ValueError("lies outside the years 2000 to 2100")
        value = value.astimezone(UTC)
    return value


def _name(value: object) -> object:
    if isinstance(value, str) and not _NAME.match(value):
        raise ValueError("use letters, digits and . _ : / - only, at most 100 characters")
    return value


UtcInstant = Annotated[datetime, BeforeValidator(_utc)]
Name = Annotated[str, BeforeValidator(_name)]
Rate = Annotated[Decimal, Field(gt=0, max_digits=14, decimal_places=8)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)


class _Address(_Section):
    """A mirror or test server to ask instead of the publisher's own host."""

    base_url: str | None = None

    @model_validator(mode="after")
    def _loopback_only_for_http(self) -> Self:
        if self.base_url is not None:
            parts = urlsplit(self.base_url)
            if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "localhost", "::1"}:
                raise ValueError("base_url must be https; plain http is allowed for this machine only")
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError("base_url must look like https://host/path")
        return self


class ExchangeRatesSection(_Address):
    """`prices.exchange_rates`: where the ECB's rate files are read, if not at the ECB."""


class PriceSourceSection(_Address):
    """`prices.sources.<name>`: what to ask of one price source."""

    enabled: bool = True
    regions: tuple[Name, ...] = ()
    api_key_env: str | None = None


class PricesSection(_Section):
    """`prices`: which sources to pull, whom they may write to about it, own price files, snapshots to start from."""

    contact: Annotated[str, Field(max_length=100, pattern=r"^[\x20-\x7e]+$")] | None = None
    bundled: tuple[Path, ...] = ()
    overrides: tuple[Path, ...] = ()
    exchange_rates: ExchangeRatesSection = ExchangeRatesSection()
    stale_after_hours: int = Field(default=48, strict=True, ge=1)
    sources: dict[str, PriceSourceSection] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _bare_sources(cls, value: Any) -> Any:
        """`oci:` with nothing behind it means `oci: {}`."""
        if isinstance(value, dict) and isinstance(value.get("sources"), dict):
            sources = {key: {} if entry is None else entry for key, entry in value["sources"].items()}
            value = {**value, "sources": sources}
        return value

    @model_validator(mode="after")
    def _known_sources(self) -> "PricesSection":
        for name in self.sources:
            if name not in PRICE_SOURCES:
                raise ValueError(
                    f"unknown price source {name!r}{_suggest(name, PRICE_SOURCES)}; "
                    f"known: {', '.join(sorted(PRICE_SOURCES))}"
                )
        return self

    @model_validator(mode="after")
    def _override_files_differ_by_name(self) -> "PricesSection":
        names = [path.stem.lower() for path in self.overrides]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"overrides: two files are called {repeated[0]!r}; each needs a name of its own")
        return self


class PricingSection(_Section):
    """`fleet[].pricing`: how the entry's instances are bought."""

    model: Literal["on_demand", "spot", "reserved"]
    commitment: Name | None = None
    rate_usd_per_gpu_hour: Rate | None = None

    @model_validator(mode="after")
    def _commitment_goes_with_reserved(self) -> "PricingSection":
        if (self.model == "reserved") != (self.commitment is not None):
            raise ValueError("a reserved entry names its commitment, and only a reserved entry does")
        if self.model == "reserved" and self.rate_usd_per_gpu_hour is not None:
            raise ValueError("the rate of a reserved entry belongs to its commitment")
        return self


def _time_zone(zone: str) -> str:
    try:
        ZoneInfo(zone)
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError; names of folders raise OSError
        raise ValueError(f"{zone!r} is no IANA time zone such as Europe/Berlin") from None
    return zone


_POD_PATTERN = re.compile(r"^[a-z0-9*]([a-z0-9.*-]{0,251}[a-z0-9*])?$")
_LABEL_KEY = re.compile(r"^([a-z0-9][a-z0-9.-]*/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")


def _pod_pattern(value: object) -> object:
    if isinstance(value, str) and not _POD_PATTERN.match(value):
        raise ValueError("use lower-case letters, digits and . - as Kubernetes does, and * for any characters")
    return value


def _label_key(value: object) -> object:
    if isinstance(value, str) and not _LABEL_KEY.match(value):
        raise ValueError("is no label of Kubernetes; write a key such as app or app.kubernetes.io/name")
    return value


PodPattern = Annotated[str, BeforeValidator(_pod_pattern)]
LabelKey = Annotated[str, BeforeValidator(_label_key)]


class PodSelector(_Section):
    """`fleet[].pods`: which pods of a cluster run the deployment; "llm/chat-*" is short for namespace and name."""

    cluster: Name | None = None
    namespace: PodPattern = "*"
    name: PodPattern = "*"
    labels: dict[LabelKey, Annotated[str, Field(max_length=63)]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _written_short(cls, value: Any) -> Any:
        if isinstance(value, str):
            namespace, slash, name = value.partition("/")
            if not slash:
                raise ValueError("write namespace/name, such as llm/chat-*, or a map of namespace, name and labels")
            return {"namespace": namespace, "name": name}
        return value

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.labels and not (self.namespace + self.name).strip("*"):
            raise ValueError("claims every pod; name a namespace, a pod or a label")
        return self


class FleetEntry(_Section):
    """`fleet[]`: instances of one deployment bought one way, from an instant to another (exclusive, UTC)."""

    deployment: Name
    model: Name
    provider: Name
    region: Name
    instance_type: Annotated[str, Field(min_length=1, max_length=100)]
    replicas: int = Field(strict=True, ge=1, le=100_000)
    instances_per_replica: int = Field(default=1, strict=True, ge=1, le=1024)
    gpus_per_replica: Decimal | None = Field(default=None, gt=0, le=1024)
    pricing: PricingSection
    pods: PodSelector | None = None
    from_: UtcInstant = Field(alias="from")
    to: UtcInstant | None = None

    @model_validator(mode="after")
    def _interval(self) -> "FleetEntry":
        if self.to is not None and self.to <= self.from_:
            raise ValueError("`to` must be later than `from`")
        return self


class LatencyTarget(_Section):
    """`latency_targets[]`: what a request to a deployment has to keep to count as served well."""

    deployment: Name
    ttft_ms: Decimal | None = Field(default=None, gt=0, le=10_000_000)
    tpot_ms: Decimal | None = Field(default=None, gt=0, le=10_000_000)

    @model_validator(mode="after")
    def _says_something(self) -> "LatencyTarget":
        if self.ttft_ms is None and self.tpot_ms is None:
            raise ValueError("give `ttft_ms` (time to first token), `tpot_ms` (time per output token after it) or both")
        return self


SAVINGS_PLANS = ("savings_plan", "compute_savings_plan", "ec2_instance_savings_plan")
Money = Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=2)]


class Commitment(_Section):
    """`commitments[]`: what is paid for whether used or not.

    `kind` says which list prices fit: a reservation (reserved instances, committed use), a capacity block, or a savings
    plan, at AWS by its name. A plan is a promise to spend, `usd_per_hour`; it then covers what it can, in any instance
    type (or those of `instance_type`, a type or a family such as p5) and any region (or `region`). A plan without
    `usd_per_hour` is written as the instances that it pays for.
    """

    id: Name
    kind: Literal[
        "reservation", "capacity_block", "savings_plan", "compute_savings_plan", "ec2_instance_savings_plan"
    ] = "reservation"
    provider: Name
    region: Name | None = None
    instance_type: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    count: int | None = Field(default=None, strict=True, ge=1, le=100_000)
    term_months: Literal[12, 36] | None = None
    payment_option: Literal["no_upfront", "partial_upfront", "all_upfront"] = "no_upfront"
    rate_usd_per_gpu_hour: Annotated[Decimal, Field(ge=0, max_digits=14, decimal_places=8)] | None = None
    upfront_usd: Money | None = None
    usd_per_hour: Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=8)] | None = None
    applies_to: Literal["matching", "named"] | None = None
    billed_as: Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[\x21-\x7e]+$")] | None = None
    from_: UtcInstant = Field(alias="from")
    to_: UtcInstant | None = Field(default=None, alias="to")

    @model_validator(mode="after")
    def _aws_names_its_plans(self) -> "Commitment":
        if self.kind in SAVINGS_PLANS and (self.kind == "savings_plan") == (self.provider == "aws"):
            raise ValueError(
                "kind: aws sells compute_savings_plan and ec2_instance_savings_plan, every other provider savings_plan"
            )
        return self

    @model_validator(mode="after")
    def _says_what_is_promised(self) -> "Commitment":
        if self.usd_per_hour is None:
            missing = [name for name in ("region", "instance_type", "count") if getattr(self, name) is None]
            if missing:
                raise ValueError(f"{missing[0]} is missing; only a savings plan with usd_per_hour goes without")
            return self
        if self.kind not in SAVINGS_PLANS:
            raise ValueError("usd_per_hour is the promise of a savings plan; state its kind")
        stated = [
            name
            for name in ("count", "rate_usd_per_gpu_hour", "upfront_usd", "applies_to")
            if getattr(self, name) is not None
        ]
        if stated:
            raise ValueError(
                f"a plan of usd_per_hour covers what it can at the plan's own prices; leave out {stated[0]}"
            )
        if self.kind == "ec2_instance_savings_plan" and (self.region is None or self.instance_type is None):
            raise ValueError("an ec2_instance_savings_plan holds for one region and one family; name region and family")
        return self

    @model_validator(mode="after")
    def _term(self) -> "Commitment":
        if self.kind == "capacity_block":
            if self.to_ is None or self.term_months is not None:
                raise ValueError("a capacity_block has `to`, and no term_months")
            if self.upfront_usd is None:
                raise ValueError("a capacity_block is paid before it begins; give upfront_usd, the fee for all of it")
            if self.rate_usd_per_gpu_hour is not None:
                raise ValueError("a capacity_block has no hourly rate beside its upfront_usd")
        elif self.term_months is None or self.to_ is not None:
            raise ValueError("give term_months, 12 or 36; only a capacity_block ends at `to`")
        if self.to_ is not None and self.to_ <= self.from_:
            raise ValueError("`to` must be later than `from`")
        return self

    @model_validator(mode="after")
    def _rate_is_complete(self) -> "Commitment":
        if self.kind == "capacity_block":
            return self
        needs_upfront = self.payment_option != "no_upfront"
        if needs_upfront and (self.rate_usd_per_gpu_hour is None) != (self.upfront_usd is None):
            raise ValueError(
                f"{self.payment_option} needs both rate_usd_per_gpu_hour (0 is allowed) and upfront_usd, or neither"
            )
        if not needs_upfront and self.upfront_usd is not None:
            raise ValueError("no_upfront takes no upfront_usd")
        return self

    @property
    def covers(self) -> str:
        """`matching`: any instance of its type on demand, as clouds bill; `named`: only entries that name it."""
        return self.applies_to or ("named" if self.kind == "capacity_block" else "matching")

    @property
    def to(self) -> datetime:
        """The end of the term, exclusive: the same day and time `term_months` later."""
        if self.to_ is not None:
            return self.to_
        month = self.from_.month - 1 + (self.term_months or 0)
        year, month = self.from_.year + month // 12, month % 12 + 1
        for day in (self.from_.day, 28):
            try:
                return self.from_.replace(year=year, month=month, day=day)
            except ValueError:  # 29 February
                continue
        raise AssertionError("unreachable: the 28th exists in every month")


def _path_problem(path: str) -> str | None:
    if "://" in path:
        return "is an address; usage is read from files of this machine"
    if path.startswith("~"):
        return "begins with ~, which is not expanded; write the folder out"
    if "\0" in path or not path.strip("./ ") or path.endswith("/"):
        return "names no file; write a pattern such as logs/*.jsonl*"
    if any("**" in part and part != "**" for part in path.split("/")):
        return "uses ** inside a name; it stands alone between slashes"
    return None


# What `usage[].columns` may name, beside how a duration is turned into an end.
RequestColumn = Literal[
    "request_id", "call_id", "trace_id", "sub_index", "status", "model", "model_group", "model_id", "tenant", "adapter",
    "replica_hint", "started_at", "completed_at", "first_token_at", "duration_seconds", "duration_ms", "prompt_tokens",
    "completion_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens",
]  # fmt: skip
# What `usage[].fields` of an access log may rename.
EnvoyField = Literal[
    "request_id", "start_time", "duration", "response_code", "model_name", "model_name_override", "upstream_host",
    "tenant", "input_tokens", "cached_input_tokens", "output_tokens", "total_tokens",
]  # fmt: skip
FieldName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
# strptime directives that DuckDB reads.
TIME_DIRECTIVES = "YymdHIMSfgnpbBaAjz"

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MATCHER = r'[a-zA-Z_][a-zA-Z0-9_]*\s*(?:=~|!~|!=|=)\s*"(?:[^"\\\n]|\\.)*"'
_MATCHERS = re.compile(rf"\{{\s*{_MATCHER}(?:\s*,\s*{_MATCHER})*\s*,?\s*\}}")
_HEADER = re.compile(r"[A-Za-z0-9-]+")


class PrometheusOptions(_Section):
    """What only a usage source of kind `prometheus` says: how to get in, what to ask, how far back."""

    match: str | None = None
    token_env: str | None = None
    user_env: str | None = None
    password_env: str | None = None
    headers_env: dict[str, str] = Field(default_factory=dict)
    step_seconds: int = Field(default=60, strict=True, ge=1, le=3600)
    look_back_days: int = Field(default=3, strict=True, ge=1, le=30)
    replica_label: str | None = None

    @field_validator("match")
    @classmethod
    def _label_matchers(cls, match: str | None) -> str | None:
        if match is not None and (not _MATCHERS.fullmatch(match) or re.search(r"[{,]\s*__name__\s*[=!]", match)):
            raise ValueError("""write label matchers in braces, such as {namespace="llm"}, and no metric name""")
        return match

    @field_validator("replica_label")
    @classmethod
    def _label_name(cls, label: str | None) -> str | None:
        if label is not None and not _LABEL.fullmatch(label):
            raise ValueError("is no label name; use letters, digits and _")
        return label

    @field_validator("headers_env")
    @classmethod
    def _header_names(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            if not _HEADER.fullmatch(name):
                raise ValueError(f"{name!r} is no header name; write X-Scope-OrgID: TENANT_VARIABLE")
        return headers

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.user_env is None) != (self.password_env is None):
            raise ValueError("user_env and password_env go together")
        ways = [self.token_env, self.user_env, *(name for name in self.headers_env if name.lower() == "authorization")]
        if sum(way is not None for way in ways) > 1:
            raise ValueError("give one of token_env, user_env with password_env, or an Authorization header")
        return self


class UsageSource(PrometheusOptions):
    """`usage[]`: where token counts come from, and which deployment they belong to."""

    name: Name
    kind: str
    path: str | None = None
    url: str | None = None
    deployment: Name | None = None
    deployments: dict[str, Name] = Field(default_factory=dict)
    role: Role | None = None
    # What only some kinds know (usage_kinds.py).
    time_zone: str | None = None
    fields: dict[EnvoyField, FieldName] = Field(default_factory=dict)
    columns: dict[RequestColumn, FieldName] = Field(default_factory=dict)
    time_format: str | None = None
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    time_origin: UtcInstant | None = None
    no_output_means_failure: bool = False
    year: int | None = Field(default=None, ge=2020, le=2100)
    log_interval_seconds: float | None = Field(default=None, gt=0, le=3600)
    clock: Literal["file_name", "file_time"] | None = None

    OPTIONS: ClassVar = (
        "time_zone",
        "fields",
        "columns",
        "time_format",
        "time_unit",
        "time_origin",
        "no_output_means_failure",
        "year",
        "log_interval_seconds",
        "clock",
        *PrometheusOptions.model_fields,
    )

    @field_validator("time_zone")
    @classmethod
    def _iana(cls, zone: str | None) -> str | None:
        return None if zone is None else _time_zone(zone)

    @field_validator("time_format")
    @classmethod
    def _directives(cls, text: str | None) -> str | None:
        if text is not None and (unknown := set(re.findall(r"%(.?)", text.replace("%%", ""))) - set(TIME_DIRECTIVES)):
            raise ValueError(f"unknown %{min(unknown)}; known: {' '.join('%' + name for name in TIME_DIRECTIVES)}")
        return text

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        kind = USAGE_KIND_ALIASES.get(kind, kind)
        if kind not in USAGE_KINDS:
            raise ValueError(f"no usage source of kind {kind!r}{_suggest(kind, USAGE_KINDS)}")
        return kind

    @model_validator(mode="after")
    def _complete(self) -> "UsageSource":
        if (self.path is None) == (self.url is None):
            raise ValueError("give either a path or a url")
        if self.path is not None and (problem := _path_problem(self.path)):
            raise ValueError(f"path {self.path!r} {problem}")
        if self.url is not None and self.kind not in ("metrics", "prometheus"):
            raise ValueError("only kinds metrics and prometheus are asked at a url; give a path")
        if self.kind == "prometheus":
            self._require_usable_server()
        if (self.deployment is None) == (not self.deployments):
            raise ValueError("give either `deployment`, or `deployments` as a map from model to deployment")
        return self

    @model_validator(mode="after")
    def _options_of_its_kind(self) -> "UsageSource":
        kind = USAGE_KINDS[self.kind]
        for option in self.OPTIONS:
            if option in self.model_fields_set and option not in kind.options:
                knowing = ", ".join(name for name, other in USAGE_KINDS.items() if option in other.options)
                raise ValueError(f"{option}: kind {self.kind} does not know it; kinds that do: {knowing}")
        if self.role not in (None, kind.role, *kind.other_roles):
            raise ValueError(f"role: kind {self.kind} speaks as {' or '.join((kind.role, *kind.other_roles))}")
        return self

    @model_validator(mode="after")
    def _columns_and_times(self) -> "UsageSource":
        if self.kind == "requests" and not {"started_at", "prompt_tokens", "completion_tokens"} <= set(self.columns):
            raise ValueError("columns: name at least started_at, prompt_tokens and completion_tokens")
        for option, names in (("columns", self.columns), ("fields", self.fields)):
            by_lower: dict[str, set[str]] = {}
            for name in names.values():
                by_lower.setdefault(name.lower(), set()).add(name)
            if alike := next((sorted(group) for group in by_lower.values() if len(group) > 1), None):
                raise ValueError(f"{option}: {alike[0]!r} and {alike[1]!r} differ in upper and lower case only")
        if self.time_format is not None and self.time_unit is not None:
            raise ValueError("give either time_format, for text, or time_unit, for numbers")
        if self.time_origin is not None and self.time_unit is None:
            raise ValueError("time_origin needs time_unit: what the numbers since then count")
        if "duration_seconds" in self.columns and "duration_ms" in self.columns:
            raise ValueError("columns: give either duration_seconds or duration_ms")
        return self

    @property
    def speaks_as(self) -> Role:
        """Whose word the rows are: what the ledger says, else what its kind is."""
        return self.role or USAGE_KINDS[self.kind].role

    def _require_usable_server(self) -> None:
        parts = urlsplit(self.url or "")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("kind prometheus needs a url such as https://prometheus.example.com/prefix")
        if parts.username is not None or parts.password is not None:
            raise ValueError("url holds a user or password; name their variables in user_env and password_env")
        if parts.path.rstrip("/").endswith(("/api/v1", "/api/v1/query", "/api/v1/query_range")):
            raise ValueError("url is the address before /api/v1, such as https://prometheus.example.com")
        is_local = parts.hostname in ("127.0.0.1", "localhost", "::1")
        if parts.scheme == "http" and not is_local and (self.token_env or self.user_env):
            raise ValueError("a token or password goes over https only; http would show it to the network")

    def routes(self) -> dict[str, str]:
        """Model name (or `*`) to deployment."""
        return {"*": self.deployment} if self.deployment is not None else dict(self.deployments)


class InventorySource(_Section):
    """`inventory[]`: snapshots of what runs in a cluster: its nodes, its pods, or the GPUs that pods hold.

    `provider` and `region` are for nodes that do not say where they stand (no providerID, no topology label).
    """

    name: Name
    kind: str
    path: str
    cluster: Name = "default"
    provider: Name | None = None
    region: Name | None = None

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in INVENTORY_KINDS:
            known = ", ".join(INVENTORY_KINDS)
            raise ValueError(f"no inventory source of kind {kind!r}{_suggest(kind, INVENTORY_KINDS)}; known: {known}")
        return kind

    @field_validator("path")
    @classmethod
    def _names_files(cls, path: str) -> str:
        if problem := _path_problem(path):
            raise ValueError(f"path {path!r} {problem}")
        return path


# What clouds allow in the key of a tag, less what would have to be quoted.
TagKey = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9 _.:/=+@-]+$")]


class BillingSource(_Section):
    """`billing[]`: a cloud's bill, exported line by line; `provider` where the lines do not say it or say it otherwise.

    A folder holds a month whole, perhaps in several files, and the folder written last counts (`delivery: month`); or
    all folders together are the bill (`delivery: parts`, as Oracle writes one file after the other). Of the tags of a
    line the one called `deployment_tag` is read, as the file spells it, and no other.
    """

    name: Name
    kind: Literal["focus", "aws_cur2"]
    path: str
    provider: Name | None = None
    delivery: Literal["month", "parts"] = "month"
    deployment_tag: TagKey | None = None

    @field_validator("path")
    @classmethod
    def _names_files(cls, path: str) -> str:
        if problem := _path_problem(path):
            raise ValueError(f"path {path!r} {problem}")
        return path


# As logs and metrics spell it: `serving_logs.fields.clean` keeps as many characters.
RawName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]


class ModelEntry(_Section):
    """`models[]`: the names under which one model is served and called, and the LoRA adapters on it."""

    name: RawName
    aliases: tuple[RawName, ...] = ()
    adapters: dict[RawName, Name] = Field(default_factory=dict)

    def names(self) -> dict[str, str | None]:
        """Name as logs and metrics spell it -> adapter that it means, None for the model itself."""
        return {self.name: None, **dict.fromkeys(self.aliases), **self.adapters}


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _tenant_pattern(value: object) -> object:
    """An e-mail address is kept as the digest that stands for it in the logs (`serving_logs.fields.tenant`)."""
    if isinstance(value, str) and "@" in value:
        if "*" in value:
            raise ValueError("addresses are kept as digests, which no pattern fits; write each address, or its digest")
        return "sha256:" + hashlib.sha256(value.encode()).hexdigest()[:16]
    return value


TenantPattern = Annotated[RawName, BeforeValidator(_tenant_pattern)]
CostWord = Annotated[
    str, BeforeValidator(_as_text), Field(min_length=1, max_length=100, pattern=r"^[^@\x00-\x1f\x7f]+$")
]


class TenantEntry(_Section):
    """`tenants[]`: who a tenant of the logs is, and who pays. In patterns `*` stands for any characters.

    `match` is compared with the tenant as the logs spell it (team, key alias); `model_groups` where the log names no
    tenant; `namespaces` with the pods of `inventory`. The tenant's own name always fits. `deployments` of fleet are the
    tenant's own: it bears what no call explains of them.
    """

    tenant: Name
    team: CostWord | None = None
    cost_center: CostWord | None = None
    match: tuple[TenantPattern, ...] = ()
    model_groups: tuple[RawName, ...] = ()
    namespaces: tuple[PodPattern, ...] = ()
    deployments: tuple[Name, ...] = ()

    def patterns(self) -> list[tuple[str, str]]:
        """What is compared (tenant, model_group, namespace, deployment), and with which pattern."""
        own = () if self.tenant in self.match else (self.tenant,)
        return [
            *(("tenant", pattern) for pattern in (*own, *self.match)),
            *(("model_group", pattern) for pattern in self.model_groups),
            *(("namespace", pattern) for pattern in self.namespaces),
            *(("deployment", name) for name in self.deployments),
        ]


_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")
_HOURS = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$")


class ChannelSection(_Section):
    """`alerts.channels[]`: where messages go. The address itself stands in the environment, never in the file."""

    url_env: str
    name: Name = ""
    min_severity: Literal["page", "warning", "info"] = "warning"
    quiet_hours: str | None = None
    time_zone: str = "UTC"
    heartbeat: bool | None = None
    digest: bool | None = None

    @field_validator("url_env")
    @classmethod
    def _variable(cls, name: str) -> str:
        if not _VARIABLE.match(name):
            raise ValueError("names an environment variable, such as LEDGER_ALERT_URL; the address is a secret")
        return name

    @field_validator("quiet_hours")
    @classmethod
    def _hours(cls, text: str | None) -> str | None:
        if text is not None and (not (found := _HOURS.match(text)) or found.group(1, 2) == found.group(3, 4)):
            raise ValueError("write from and to, such as 22:00-07:00")
        return text

    @field_validator("time_zone")
    @classmethod
    def _iana(cls, zone: str) -> str:
        return _time_zone(zone)

    @model_validator(mode="before")
    @classmethod
    def _named_after_its_variable(cls, value: Any) -> Any:
        if isinstance(value, dict) and "name" not in value and _VARIABLE.match(str(value.get("url_env"))):
            return {**value, "name": value["url_env"]}
        return value

    @property
    def least(self) -> Severity:
        """The lowest severity that is told here at once."""
        return Severity.of(self.min_severity)

    @property
    def takes_heartbeat(self) -> bool:
        """A pager gets no sign of life unless it is asked for."""
        return self.least < Severity.PAGE if self.heartbeat is None else self.heartbeat

    @property
    def takes_digest(self) -> bool:
        """As for the sign of life."""
        return self.least < Severity.PAGE if self.digest is None else self.digest

    def due_at(self, now: datetime, severity: Severity) -> datetime:
        """When a message may go out: pages at once, the rest after the quiet hours."""
        found = _HOURS.match(self.quiet_hours or "")
        if found is None or severity is Severity.PAGE:
            return now
        zone = ZoneInfo(self.time_zone)
        begins, ends = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
        local = now.astimezone(zone)
        is_quiet = begins <= local.time() < ends if begins < ends else local.time() >= begins or local.time() < ends
        if not is_quiet:
            return now
        day = local.date() + timedelta(days=local.time() >= ends)
        return datetime.combine(day, ends, tzinfo=zone).astimezone(UTC)


class ExpectedChangeSection(_Section):
    """`alerts.expected_changes[]`: a window in which something is known to happen; what fits is not told."""

    from_: UtcInstant = Field(alias="from")
    to: UtcInstant
    reason: Annotated[str, Field(min_length=3, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
    rules: tuple[Name, ...] = ()
    subjects: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = ()

    @model_validator(mode="after")
    def _interval(self) -> Self:
        if self.to <= self.from_:
            raise ValueError("`to` must be later than `from`")
        if self.to - self.from_ > timedelta(days=92):
            raise ValueError("lasts longer than three months: that is not a change but a mute; shorten it")
        return self

    def window(self) -> ExpectedChange:
        """As the incidents know it."""
        return ExpectedChange(self.from_, self.to, self.reason, self.rules, self.subjects)


class AlertsSection(_Section):
    """`alerts`: who is told. Without it findings are in fct_alerts and in what `run` prints."""

    channels: tuple[ChannelSection, ...] = ()
    expected_changes: tuple[ExpectedChangeSection, ...] = ()


Share = Annotated[Decimal, Field(ge=0, lt=1, max_digits=9, decimal_places=8)]


class CapacitySection(_Section):
    """`capacity`: what plans of commitments assume (docs/capacity.md). All of it may be left out."""

    target_utilization: Annotated[Decimal, Field(gt=0, le=1, max_digits=9, decimal_places=8)] = Decimal("0.8")
    price_decline_per_year: Share = Decimal(0)
    new_generation_per_year: Share = Decimal(0)
    new_generation_gain: Share = Decimal(0)
    spot_interruptions_per_gpu_hour: Annotated[Decimal, Field(ge=0, le=100)] = Decimal("0.02")
    spot_recovery_hours: Annotated[Decimal, Field(ge=0, le=100)] = Decimal("0.5")


Days = Annotated[int, Field(ge=1, le=36_500)]


class RetentionSection(_Section):
    """`retention`: how many days of what is kept (docs/operations.md); null keeps all of it.

    Without a word of the user nothing goes that could not be had again; logs and Dagster's history tell of runs alone.
    """

    # A month at least: logs come late, and what was pruned is closed.
    usage_records_days: Annotated[Days, Field(ge=31)] | None = None
    usage_answers_days: Days | None = None
    price_answers_days: Days | None = None
    quarantine_days: Days | None = None
    run_logs_days: Days | None = 30
    dagster_days: Days | None = 90
    leftovers_days: Days | None = 2


def _precision(value: object) -> object:
    if isinstance(value, str):
        try:
            precision_named(value)
        except SizingError as error:
            raise ValueError(str(error).removeprefix("--precision ")) from None
    return value


PrecisionName = Annotated[str, BeforeValidator(_precision)]
TokenCount = Annotated[int, Field(strict=True, ge=1, le=10_000_000)]


class SizedModel(_Section):
    """`sizing.models[]`: where a model's config.json is, and in which precisions to size it.

    Without `precisions`: as its checkpoint is, fp8 and awq. `served_precision` is what the fleet's deployments of the
    model run, by default the checkpoint's own: their telemetry calibrates that precision.
    """

    model: Name
    config: Path
    precisions: tuple[PrecisionName, ...] = ()
    served_precision: PrecisionName | None = None


class SizedWorkload(_Section):
    """`sizing.workloads[]`: one size of requests, and what users are promised; without `models` for all of them."""

    name: Name
    input_tokens: TokenCount
    output_tokens: TokenCount
    cached_input_tokens: Annotated[int, Field(strict=True, ge=0)] = 0
    ttft_ms: Decimal | None = Field(default=None, gt=0, le=10_000_000)
    tpot_ms: Decimal | None = Field(default=None, gt=0, le=10_000_000)
    models: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _some_input_is_new(self) -> Self:
        if self.cached_input_tokens >= self.input_tokens:
            raise ValueError("cached_input_tokens must be fewer than input_tokens: the last token is always computed")
        return self


class SizingSection(_Section):
    """`sizing`: what to size every day (docs/sizing.md). Without it fct_gpu_sizing stays empty."""

    models: tuple[SizedModel, ...] = ()
    workloads: tuple[SizedWorkload, ...] = ()
    gpus: tuple[Name, ...] = ()
    engines: tuple[Literal["vllm", "sglang", "trtllm"], ...] = ("vllm",)
    tensor_parallel: tuple[Annotated[int, Field(strict=True, ge=1, le=64)], ...] = (1, 2, 4, 8)
    kv_precision: Literal["bf16", "fp8"] | None = None


class Ledger(_Section):
    """The whole of `ledger.yaml`."""

    close_after_days: int = Field(default=CLOSE_AFTER_DAYS, ge=0, le=365)

    prices: PricesSection = PricesSection()
    fleet: tuple[FleetEntry, ...] = ()
    commitments: tuple[Commitment, ...] = ()
    usage: tuple[UsageSource, ...] = ()
    inventory: tuple[InventorySource, ...] = ()
    billing: tuple[BillingSource, ...] = ()
    models: tuple[ModelEntry, ...] = ()
    tenants: tuple[TenantEntry, ...] = ()
    latency_targets: tuple[LatencyTarget, ...] = ()
    sizing: SizingSection = SizingSection()
    alerts: AlertsSection = AlertsSection()
    capacity: CapacitySection = CapacitySection()
    retention: RetentionSection = RetentionSection()

    SAME_WITHIN_DEPLOYMENT: ClassVar = (
        "model",
        "provider",
        "region",
        "instance_type",
        "gpus_per_replica",
        "instances_per_replica",
    )

    def cross_problems(self) -> list[tuple[tuple[str | int, ...], str]]:
        """Mistakes that need more than one section to see: path of the field, and the message."""
        problems: list[tuple[tuple[str | int, ...], str]] = []
        commitments = {commitment.id: commitment for commitment in self.commitments}
        first: dict[str, FleetEntry] = {}
        for index, entry in enumerate(self.fleet):
            known = first.setdefault(entry.deployment, entry)
            problems += [
                (
                    ("fleet", index, field),
                    f"deployment {entry.deployment!r} has {field} {getattr(known, field)!r} in an earlier entry; "
                    "give other hardware or another model a deployment name of its own",
                )
                for field in self.SAME_WITHIN_DEPLOYMENT
                if getattr(entry, field) != getattr(known, field)
            ]
            if (wanted := entry.pricing.commitment) is not None:
                field_path = ("fleet", index, "pricing", "commitment")
                commitment = commitments.get(wanted)
                if commitment is None:
                    problems.append((field_path, f"no commitment {wanted!r}{_suggest(wanted, commitments)}"))
                elif commitment.usd_per_hour is not None:
                    problems.append(
                        (field_path, f"commitment {wanted!r} covers what it can of on_demand entries; none names it")
                    )
                elif (entry.provider, entry.region, entry.instance_type) != (
                    commitment.provider,
                    commitment.region,
                    commitment.instance_type,
                ):
                    problems.append(
                        (
                            field_path,
                            f"commitment {wanted!r} is for {commitment.provider} {commitment.region} "
                            f"{commitment.instance_type}, "
                            f"not for {entry.provider} {entry.region} {entry.instance_type}",
                        )
                    )
        problems += _repeated(("commitments", "id"), [commitment.id for commitment in self.commitments])
        problems += _repeated(("billing", "name"), [source.name for source in self.billing])
        problems += [
            (where, f"{what}: its lines would count twice")
            for where, what in _repeated(("billing", "path"), [source.path for source in self.billing])
        ]
        problems += _repeated(("usage", "name"), [source.name for source in self.usage])
        problems += [
            ((*where[:2], "url" if self.usage[int(where[1])].url else "path"), f"{what}: its tokens would count twice")
            for where, what in _repeated(("usage", "path"), [str(source.path or source.url) for source in self.usage])
        ]
        for index, source in enumerate(self.usage):
            problems += [
                (("usage", index), f"no deployment {name!r} in fleet{_suggest(name, first)}")
                for name in source.routes().values()
                if name not in first
            ]
        problems += _repeated(("latency_targets", "deployment"), [target.deployment for target in self.latency_targets])
        problems += [
            (("latency_targets", index, "deployment"), f"no deployment {name!r} in fleet{_suggest(name, first)}")
            for index, name in enumerate(target.deployment for target in self.latency_targets)
            if name not in first
        ]
        problems += [
            (("alerts", *where), what)
            for where, what in _repeated(("channels", "name"), [channel.name for channel in self.alerts.channels])
        ]
        return problems + self._inventory_problems() + self._name_problems() + self._sizing_problems()

    def _sizing_problems(self) -> list[tuple[tuple[str | int, ...], str]]:
        problems: list[tuple[tuple[str | int, ...], str]] = [
            (("sizing", *where), what)
            for field, names in (
                ("models", [entry.model for entry in self.sizing.models]),
                ("workloads", [entry.name for entry in self.sizing.workloads]),
            )
            for where, what in _repeated((field, "model" if field == "models" else "name"), names)
        ]
        models = {entry.model for entry in self.sizing.models}
        problems += [
            (("sizing", "workloads", index, "models"), f"no model {name!r} in sizing.models{_suggest(name, models)}")
            for index, workload in enumerate(self.sizing.workloads)
            for name in workload.models
            if name not in models
        ]
        if self.sizing.models and not self.sizing.workloads:
            problems.append((("sizing",), "models without workloads; add one with input_tokens and output_tokens"))
        return problems

    def _inventory_problems(self) -> list[tuple[tuple[str | int, ...], str]]:
        problems = _repeated(("inventory", "name"), [source.name for source in self.inventory])
        problems += [
            (where, f"{what}: its pods would count twice")
            for where, what in _repeated(("inventory", "path"), [source.path for source in self.inventory])
        ]
        usage_names = {source.name for source in self.usage}
        problems += [
            (("inventory", index, "name"), f"{source.name!r} is the name of a usage source; give it one of its own")
            for index, source in enumerate(self.inventory)
            if source.name in usage_names
        ]
        clusters = {source.cluster for source in self.inventory}
        problems += [
            (("fleet", index, "pods", "cluster"), f"no cluster {wanted!r} in inventory{_suggest(wanted, clusters)}")
            for index, entry in enumerate(self.fleet)
            if entry.pods is not None and (wanted := entry.pods.cluster) is not None and wanted not in clusters
        ]
        return problems

    def _name_problems(self) -> list[tuple[tuple[str | int, ...], str]]:
        """A name that means two things would be resolved by chance."""
        problems: list[tuple[tuple[str | int, ...], str]] = []
        models: dict[str, str] = {}
        for index, model in enumerate(self.models):
            written = [model.name, *model.aliases, *model.adapters]
            problems += [
                (("models", index), f"{name!r} is used twice: for {models.get(name, model.name)!r} already")
                for position, name in enumerate(written)
                if name in models or name in written[:position]
            ]
            models |= dict.fromkeys(written, model.name)
        tenants: dict[tuple[str, str], str] = {}
        deployments = {entry.deployment for entry in self.fleet}
        for index, tenant in enumerate(self.tenants):
            problems += [
                (("tenants", index), f"{what} {pattern!r} is that of tenant {tenants[what, pattern]!r} already")
                for what, pattern in tenant.patterns()
                if (what, pattern) in tenants
            ]
            tenants = dict.fromkeys(tenant.patterns(), tenant.tenant) | tenants
            problems += [
                (("tenants", index), f"no deployment {name!r} in fleet{_suggest(name, deployments)}")
                for name in tenant.deployments
                if name not in deployments
            ]
        return problems


@dataclass(frozen=True, slots=True)
class Settings:
    """The ledger, and the folders one run works in."""

    ledger: Ledger
    config_path: Path
    data_dir: Path

    @property
    def root(self) -> Path:
        """Folder of `ledger.yaml`: its relative paths start here."""
        return self.config_path.parent

    @property
    def landing_dir(self) -> Path:
        """Immutable answers of price sources and scraped metric pages."""
        return self.data_dir / "landing"

    @property
    def warehouse_path(self) -> Path:
        """The pipeline's own DuckDB file; readers never open it."""
        return self.data_dir / "warehouse.duckdb"

    @property
    def published_dir(self) -> Path:
        """What readers open."""
        return self.data_dir / "published"

    @property
    def published_database(self) -> Path:
        """The read-only DuckDB file for finance."""
        return self.published_dir / "inference_ledger.duckdb"

    @property
    def report_file(self) -> Path:
        """The page that people open; whole in itself."""
        return self.published_dir / "report" / "index.html"

    @property
    def usage_archive_dir(self) -> Path:
        """What calls and scrapes added up to before their records were pruned: the only copy, back it up."""
        return self.data_dir / "archive" / "usage"

    @property
    def logs_dir(self) -> Path:
        """What the libraries of each run printed, a file a run."""
        return self.data_dir / "logs"

    @property
    def alerts_dir(self) -> Path:
        """Incidents, what people said about them and the outbox: not a cache, back it up."""
        return self.data_dir / "alerts"

    def model_configs(self) -> dict[str, Path]:
        """Model -> its config.json, of `sizing.models`: beside the ledger, else the project's own of examples/."""
        places = {
            entry.model: (self.root / entry.config, PROJECT_ROOT / entry.config) for entry in self.ledger.sizing.models
        }
        return {model: own if own.exists() or not ours.exists() else ours for model, (own, ours) in places.items()}

    def alert_addresses(self) -> dict[str, str]:
        """Channel name -> its address, a secret, for the channels whose variable is set."""
        values = {channel.name: os.environ.get(channel.url_env, "").strip() for channel in self.ledger.alerts.channels}
        return {name: url for name, url in values.items() if url}

    def source_options(self, name: str) -> SourceOptions:
        """Options of one price source, its key read from the environment."""
        section = self.ledger.prices.sources[name]
        return SourceOptions(regions=section.regions, base_url=section.base_url, api_key=self._api_key(name))

    def why_skipped(self, name: str) -> str | None:
        """Why source `name` cannot be asked although the ledger lists it: a key, or what else it needs, is missing."""
        if lacking := PRICE_SOURCES[name].unready():
            return f"skipped: {lacking}"
        if PRICE_SOURCES[name].key is not KeyUse.REQUIRED or self._api_key(name):
            return None
        return f"skipped: it needs an API key; set {self._api_key_env(name)}"

    def skipped_price_sources(self) -> dict[str, str]:
        """The enabled price sources that cannot be asked, and why."""
        return {name: why for name in self.enabled_price_sources() if (why := self.why_skipped(name))}

    def _api_key_env(self, name: str) -> str | None:
        return self.ledger.prices.sources[name].api_key_env or PRICE_SOURCES[name].api_key_env

    def _api_key(self, name: str) -> str | None:
        """The key without the line feed that files and secret stores leave at its end; None where it is empty."""
        return os.environ.get(self._api_key_env(name) or "", "").strip() or None

    def usage_headers(self, source: UsageSource) -> tuple[dict[str, str], list[str]]:
        """The headers that let us in at a usage source, and the environment variables named for them but not set."""
        names = [source.token_env, source.user_env, source.password_env, *source.headers_env.values()]
        values = {name: os.environ.get(name, "").strip() for name in names if name}
        headers = {header: values[name] for header, name in source.headers_env.items()}
        if source.token_env:
            headers["Authorization"] = f"Bearer {values[source.token_env]}"
        elif source.user_env and source.password_env:
            headers["Authorization"] = basic(values[source.user_env], values[source.password_env])
        return headers, [name for name, value in values.items() if not value]

    def enabled_price_sources(self) -> list[str]:
        """Names of the price sources that are not switched off, in the ledger's order."""
        return [name for name, section in self.ledger.prices.sources.items() if section.enabled]


def load_settings(config_path: Path | None = None, data_dir: Path | None = None) -> Settings:
    """Reads and validates `ledger.yaml`.

    Args:
        config_path: defaults to the environment variable LEDGER_CONFIG, else `ledger.yaml` in the current folder.
        data_dir: defaults to LEDGER_DATA_DIR, else `data` beside the configuration file.

    Raises:
        ConfigError: the file cannot be read or holds mistakes, or a limit in the environment is none.
    """
    duckdb_config()
    path = (config_path or Path(os.environ.get(CONFIG_ENV, "ledger.yaml"))).resolve()
    chosen = data_dir or (Path(os.environ[DATA_DIR_ENV]) if DATA_DIR_ENV in os.environ else None)
    return Settings(
        ledger=read_ledger(path),
        config_path=path,
        data_dir=(chosen or path.parent / "data").resolve(),
    )


def read_ledger(path: Path) -> Ledger:
    """Returns the validated content of `path`; raises `ConfigError` with every mistake found."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(path, [f"cannot be read ({error.strerror}); give the file with --config FILE"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError(path, [f"is not UTF-8 text (byte {error.start})"]) from None
    try:
        node = yaml.compose(text, Loader=_Loader)
        content = _Loader(text).get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(path, [f"{where}not valid YAML: {getattr(error, 'problem', error)}"]) from None
    if content is None:
        raise ConfigError(path, ["is empty; see the example ledger.yaml of the project"])
    try:
        ledger = Ledger.model_validate(content)
    except ValidationError as error:
        raise ConfigError(
            path, [_problem(node, tuple(item["loc"]), _message(item)) for item in error.errors()]
        ) from None
    if problems := ledger.cross_problems():
        raise ConfigError(path, [_problem(node, where, message) for where, message in problems])
    return ledger


def model_hub() -> tuple[str, str | None]:
    """Address of the hub of models, and the key for those behind a login, if one is set."""
    url = os.environ.get(HUB_URL_ENV, "").strip() or HUB_URL
    return url.rstrip("/"), os.environ.get(HUB_TOKEN_ENV, "").strip() or None


def apply_environment(settings: Settings) -> None:
    """Tells the libraries and child processes of this run its folders, and to send nothing home.

    A DAGSTER_HOME of the user's own is kept.
    """
    put_own_commands_first()
    os.environ.update(
        {
            CONFIG_ENV: str(settings.config_path),
            DATA_DIR_ENV: str(settings.data_dir),
            WAREHOUSE_ENV: str(settings.warehouse_path),
            # What dbt keeps of parsing holds for one warehouse path alone.
            DBT_TARGET_ENV: str(settings.data_dir / "dbt"),
            "DBT_LOG_PATH": str(settings.data_dir / "dbt"),
            # Dagster's log tells all but the statements; those, at 8 MB a day, cost an eighth of dbt's time.
            "DBT_LOG_LEVEL_FILE": "warn",
            "DAGSTER_HOME": os.environ.get("DAGSTER_HOME", str(settings.data_dir / "dagster")),
            "DO_NOT_TRACK": "1",
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "GX_ANALYTICS_ENABLED": "false",
            "TQDM_DISABLE": "1",
        }
    )
    home = Path(os.environ["DAGSTER_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        quiet = "telemetry: {enabled: false}\nnux: {enabled: false}\nfreshness: {enabled: true}\n"
        (home / "dagster.yaml").write_text(quiet)


def duckdb_config() -> dict[str, str | bool | int | float | list[str]]:
    """What DuckDB may take of the machine, for `duckdb.connect`.

    Of the environment: LEDGER_MEMORY_LIMIT, such as 8GB or 60% (the default) of the memory of machine or container;
    LEDGER_THREADS, by default all; LEDGER_TEMP_DIRECTORY for what does not fit into memory, by default beside the
    database file.

    Raises:
        ConfigError: a value is none that DuckDB takes.
    """
    limit = os.environ.get(MEMORY_LIMIT_ENV) or DEFAULT_MEMORY_LIMIT
    threads = os.environ.get(THREADS_ENV) or None
    folder = os.environ.get(TEMP_DIRECTORY_ENV) or None
    problems = []
    if not _MEMORY_LIMIT.match(limit):
        problems.append(f"{MEMORY_LIMIT_ENV} is {limit!r}; write a size such as 8GB, or a share such as 60%")
    if threads is not None and not _THREADS.match(threads):
        problems.append(f"{THREADS_ENV} is {threads!r}; write a number of threads, at least 1")
    if problems:
        raise ConfigError(Path("environment"), problems)
    return {
        "memory_limit": limit,
        **({} if threads is None else {"threads": int(threads)}),
        **({} if folder is None else {"temp_directory": folder}),
    }


@contextlib.contextmanager
def warehouse_environment(warehouse: Path) -> Iterator[None]:
    """Names `warehouse` to a dbt that runs in this process, where dbt/profiles.yml looks for it."""
    before = os.environ.get(WAREHOUSE_ENV)
    os.environ.update({WAREHOUSE_ENV: str(warehouse), "DO_NOT_TRACK": "1"})
    try:
        yield
    finally:
        if before is None:
            del os.environ[WAREHOUSE_ENV]
        else:
            os.environ[WAREHOUSE_ENV] = before


def dbt_target_dir() -> Path:
    """Where the daily run's dbt writes its artifacts."""
    return Path(os.environ.get(DBT_TARGET_ENV, DBT_DIR / "target"))


def dbt_environment(warehouse: Path, work_dir: Path) -> dict[str, str]:
    """The environment of a dbt command on a warehouse of its own, with its artifacts in `work_dir`."""
    put_own_commands_first()
    return {
        **os.environ,
        WAREHOUSE_ENV: str(warehouse),
        DBT_TARGET_ENV: str(work_dir / "target"),
        "DBT_LOG_PATH": str(work_dir / "logs"),
        "DO_NOT_TRACK": "1",
    }


def put_own_commands_first() -> None:
    """Makes the `dbt` of this Python the one that is found, also where the environment is not activated."""
    own = sysconfig.get_path("scripts")  # Debian has them in /usr/local/bin, its Python in /usr/bin
    path = os.environ.get("PATH", "")
    if path.split(os.pathsep)[0] != own:
        os.environ["PATH"] = os.pathsep.join([own, path])


class _Loader(yaml.SafeLoader):
    """A SafeLoader that leaves numbers with a point, and instants, as text: Decimal and UTC are made from the text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rsplit(":", 1)[-1] not in {"float", "int", "timestamp"}]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


# Plain decimal integers only: YAML 1.1 reads 010 as 8 and 1:30 as 90.
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))


def _no_duplicates(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a field name must be plain text", key.start_mark)
        if key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
        seen.add(key.value)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _no_duplicates)


def _repeated(where: tuple[str, str], names: list[str]) -> list[tuple[tuple[str | int, ...], str]]:
    return [
        ((where[0], index, where[1]), f"{name!r} is used twice; each {where[1]} must differ")
        for index, name in enumerate(names)
        if name in names[:index]
    ]


def _suggest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _message(item: Mapping[str, Any]) -> str:
    if item["type"] == "extra_forbidden":
        return f"unknown field{_suggest(str(item['loc'][-1]), _fields_at(item['loc'][:-1]))}"
    if item["type"] == "missing":
        return "is missing"
    text = str(item["msg"]).removeprefix("Value error, ")
    text = text[0].lower() + text[1:]
    # An address in the place of the name of its variable is a secret that must not be shown.
    shown = None if item["loc"][-1:] == ("url_env",) else item.get("input")
    return f"{text} (got {shown!r})" if isinstance(shown, str | int | bool) else text


def _fields_at(location: tuple[str | int, ...]) -> list[str]:
    """The field names allowed at a place of the file, for suggestions."""
    section: Any = Ledger
    for step in location:
        if isinstance(step, int) or section is None:
            continue
        if section is PricesSection and step == "sources":
            section = PriceSourceSection
        elif section is PriceSourceSection:
            continue
        else:
            section = {
                "prices": PricesSection,
                "exchange_rates": ExchangeRatesSection,
                "fleet": FleetEntry,
                "pricing": PricingSection,
                "commitments": Commitment,
                "usage": UsageSource,
                "pods": PodSelector,
                "inventory": InventorySource,
                "billing": BillingSource,
                "models": SizedModel if section is SizingSection else ModelEntry,
                "tenants": TenantEntry,
                "sizing": SizingSection,
                "workloads": SizedWorkload,
                "alerts": AlertsSection,
                "retention": RetentionSection,
                "channels": ChannelSection,
                "expected_changes": ExpectedChangeSection,
            }.get(step)
    return [] if section is None else [field.alias or name for name, field in section.model_fields.items()]


def _problem(node: yaml.Node | None, location: tuple[str | int, ...], message: str) -> str:
    """`line 12, fleet[1].pricing.model: message`."""
    path, line = "", None
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else (f".{step}" if path else step)
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            match = next(((key, value) for key, value in node.value if key.value == str(step)), None)
            node = match[1] if match else None
            line = match[0].start_mark.line + 1 if match else line
        else:
            node = None
    return f"{f'line {line}, ' if line else ''}{path or 'the file'}: {message}"
