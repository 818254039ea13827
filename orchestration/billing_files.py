"""Readers of cloud bills: FOCUS 1.0 to 1.2, and the AWS Cost and Usage Report 2.0; CSV, packed or not, and Parquet.

A reader knows columns and types; what a line means is for dbt (`stg_billing__lines`). Columns that are not on the
allow-list below are never read: no account, name or e-mail of a bill reaches a table. Of its tags, which may hold any
of these, the one that `deployment_tag` names is read.

Clouds write a month again and again, until weeks after its end. So a month is taken whole: `stage_bills` decides which
files are the delivery in force and reads the months that changed, and `warehouse.load_bills` puts them in place of
what was known. A file that is cut, or lacks a column, refuses its delivery: half a month would look like a cheap one.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb

from orchestration.serving_logs.fields import literal_text, quoted
from orchestration.serving_logs.files import compression, literal
from orchestration.settings import BillingSource, Settings

# More lines than one in a hundred that cannot be read: it is no bill, or not in a form we know.
REFUSED_REJECT_RATIO = 0.01

# Some tools write no last line feed; a file that has had none for so long is whole.
UNFINISHED_FOR = timedelta(hours=1)

_AMOUNT, _INSTANT, _TEXT = "decimal(28, 10)", "timestamptz", "varchar"


@dataclass(frozen=True, slots=True)
class _Field:
    """A column of raw.billing_lines: where it is read from (the first that is filled), and as what."""

    columns: tuple[str, ...]
    type: str = _TEXT
    json_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # column of JSON text -> keys in it


@dataclass(frozen=True, slots=True)
class _Format:
    """A kind of bill: its period, the columns it cannot go without, and what is read of it."""

    period: str
    required: tuple[tuple[str, ...], ...]  # of each group one column
    fields: Mapping[str, _Field]
    tags: str  # the column that holds them
    remedy: str


_SKU_KEYS = ("InstanceType", "x_InstanceType", "instance_type", "MachineType", "machine_type")
FORMATS: Mapping[str, _Format] = {
    "focus": _Format(
        period="BillingPeriodStart",
        tags="Tags",
        required=(
            ("BillingPeriodStart",),
            ("ChargePeriodStart",),
            ("ChargePeriodEnd",),
            ("ChargeCategory",),
            ("BilledCost",),
            ("EffectiveCost",),
            ("BillingCurrency",),
            ("PricingQuantity", "ConsumedQuantity"),
        ),
        remedy="export FOCUS 1.0 or later with all of its columns (docs/billing.md)",
        fields={
            "charge_type_raw": _Field(("ChargeCategory",)),
            "charge_class_raw": _Field(("ChargeClass",)),
            "charge_frequency_raw": _Field(("ChargeFrequency",)),
            "invoice_raw": _Field(("InvoiceId",)),
            "provider_raw": _Field(("ProviderName",)),
            "region_raw": _Field(("RegionId",)),
            "resource_id": _Field(("ResourceId",)),
            "charge_from_at": _Field(("ChargePeriodStart",), _INSTANT),
            "charge_to_at": _Field(("ChargePeriodEnd",), _INSTANT),
            "instance_type_raw": _Field(
                ("x_InstanceType",),
                json_keys={
                    "SkuPriceDetails": _SKU_KEYS,
                    "x_SkuDetails": ("ServiceType", *_SKU_KEYS),
                    "x_SystemLabels": ("compute.googleapis.com/machine_spec",),
                },
            ),
            "usage_type_raw": _Field(("x_UsageType",)),
            "description_raw": _Field(("ChargeDescription",)),
            "pricing_category_raw": _Field(("PricingCategory",)),
            "commitment_id": _Field(("CommitmentDiscountId",)),
            "commitment_category_raw": _Field(("CommitmentDiscountCategory",)),
            "commitment_status_raw": _Field(("CommitmentDiscountStatus",)),
            "capacity_status_raw": _Field(("CapacityReservationStatus",)),
            "quantity": _Field(("PricingQuantity", "ConsumedQuantity"), _AMOUNT),
            "quantity_unit_raw": _Field(("PricingUnit", "ConsumedUnit")),
            "currency": _Field(("BillingCurrency",)),
            "billed_amount": _Field(("BilledCost",), _AMOUNT),
            "effective_amount": _Field(("EffectiveCost",), _AMOUNT),
            "list_amount": _Field(("ListCost",), _AMOUNT),
            "contracted_amount": _Field(("ContractedCost",), _AMOUNT),
        },
    ),
    "aws_cur2": _Format(
        period="bill_billing_period_start_date",
        tags="resource_tags",
        required=(
            ("bill_billing_period_start_date",),
            ("line_item_usage_start_date",),
            ("line_item_usage_end_date",),
            ("line_item_line_item_type",),
            ("line_item_usage_type",),
            ("line_item_usage_amount",),
            ("line_item_unblended_cost",),
            ("line_item_currency_code",),
        ),
        remedy="export CUR 2.0 with its standard columns (docs/billing.md)",
        fields={
            "charge_type_raw": _Field(("line_item_line_item_type",)),
            "invoice_raw": _Field(("bill_invoice_id",)),
            "region_raw": _Field(("product_region_code", "product_from_region_code")),
            "resource_id": _Field(("line_item_resource_id",)),
            "charge_from_at": _Field(("line_item_usage_start_date",), _INSTANT),
            "charge_to_at": _Field(("line_item_usage_end_date",), _INSTANT),
            "instance_type_raw": _Field(("product_instance_type",), json_keys={"product": ("instance_type",)}),
            "usage_type_raw": _Field(("line_item_usage_type",)),
            "description_raw": _Field(("line_item_line_item_description",)),
            "pricing_category_raw": _Field(("pricing_term",)),
            "commitment_id": _Field(
                ("savings_plan_savings_plan_a_r_n", "reservation_reservation_a_r_n"),
            ),
            "quantity": _Field(("line_item_usage_amount",), _AMOUNT),
            "quantity_unit_raw": _Field(("pricing_unit",)),
            "currency": _Field(("line_item_currency_code",)),
            "billed_amount": _Field(("line_item_unblended_cost",), _AMOUNT),
            "list_amount": _Field(("pricing_public_on_demand_cost",), _AMOUNT),
            "plan_effective_amount": _Field(("savings_plan_savings_plan_effective_cost",), _AMOUNT),
            "plan_committed_amount": _Field(("savings_plan_total_commitment_to_date",), _AMOUNT),
            "plan_used_amount": _Field(("savings_plan_used_commitment",), _AMOUNT),
            "reservation_effective_amount": _Field(("reservation_effective_cost",), _AMOUNT),
            "reservation_unused_upfront": _Field(
                ("reservation_unused_amortized_upfront_fee_for_billing_period",), _AMOUNT
            ),
            "reservation_unused_recurring": _Field(("reservation_unused_recurring_fee",), _AMOUNT),
        },
    ),
}
# A line is of no use without these.
_NEEDED = ("charge_from_at", "charge_to_at", "charge_type_raw", "billed_amount", "currency")


@dataclass(slots=True)
class BillFile:
    """A file of a bill. `periods` are the months it speaks of; `problem` says why it was refused."""

    path: Path
    size_bytes: int
    modified_at: datetime
    digest: str = ""
    columns: frozenset[str] = frozenset()
    format_version: str | None = None
    periods: tuple[date, ...] = ()
    problem: str | None = None
    status: str = "loaded"
    line_count: int = 0
    rejected_count: int = 0


@dataclass(frozen=True, slots=True)
class KnownBillFile:
    """What raw.billing_files holds of a path that was read without trouble."""

    size_bytes: int
    modified_at: datetime
    digest: str
    format_version: str
    line_count: int
    rejected_count: int
    periods: Sequence[date]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A month as it is to be put in place: when its newest file was written, and of which bytes it is made."""

    delivered_at: datetime
    digest: str
    format_version: str


@dataclass(frozen=True, slots=True)
class StagedBills:
    """All files of a source, and the months that were read anew."""

    files: list[BillFile]
    periods: dict[date, Delivery]


def list_bill_files(source: BillingSource, settings: Settings) -> list[BillFile]:
    """The files that the source's pattern finds, with size and time of writing."""
    base, pattern = settings.root, source.path
    if Path(pattern).is_absolute():
        base, pattern = Path(Path(pattern).anchor), str(Path(pattern).relative_to(Path(pattern).anchor))
    files = []
    for path in sorted(base.glob(pattern)):
        if path.is_file() and not path.name.startswith("."):
            stat = path.stat()
            modified_at = datetime.fromtimestamp(stat.st_mtime_ns // 1_000 / 1_000_000, UTC)
            files.append(BillFile(path, stat.st_size, modified_at))
    return files


def stage_bills(
    con: duckdb.DuckDBPyConnection,
    source: BillingSource,
    files: list[BillFile],
    *,
    known: Mapping[str, KnownBillFile],
    in_force: Mapping[date, str],
    now: datetime,
) -> StagedBills:
    """Reads the months that changed into the temporary tables `staged_lines` and `staged_rejects`.

    Each month comes from its newest delivery. When that one is damaged the month is left out, and stays as it was.

    Args:
        con: holds the raw schema.
        source: whose files they are.
        files: from `list_bill_files`; their status and months are filled in.
        known: by path, what was read before: a file of the same size and time is not opened.
        in_force: month -> digest of the delivery that its lines come from.
        now: a file without a last line feed that was written within the hour is taken to be unfinished.
    """
    for file in files:
        before = known.get(str(file.path))
        if before is not None and (before.size_bytes, before.modified_at) == (file.size_bytes, file.modified_at):
            file.digest, file.format_version, file.periods = before.digest, before.format_version, tuple(before.periods)
            file.line_count, file.rejected_count = before.line_count, before.rejected_count
        else:
            _look_into(con, source, file, now)
    _set_aside_copies(files)
    candidates = [file for file in files if file.status != "superseded"]
    _create_staging(con)
    staged: dict[date, Delivery] = {}
    taken: set[int] = set()
    for period in sorted({period for file in candidates for period in file.periods}):
        files_of_month = _delivery_in_force(source, candidates, period)
        if any(file.problem for file in files_of_month):
            continue
        taken |= {id(file) for file in files_of_month}
        delivery = Delivery(
            delivered_at=max(file.modified_at for file in files_of_month),
            digest=_delivery_digest(source, files_of_month),
            format_version=max(file.format_version or "" for file in files_of_month),
        )
        if in_force.get(period) != delivery.digest:
            for file in files_of_month:
                _read_month(con, source, file, period)
            staged[period] = delivery
    for file in files:
        if file.problem is not None:
            file.status = "refused"
        elif id(file) not in taken:
            file.status = "superseded"
    for period in _months_unreadable(con, files):
        staged.pop(period, None)
    return StagedBills(files, staged)


def _delivery_digest(source: BillingSource, files: Sequence[BillFile]) -> str:
    """Of the files' bytes, and of the tag that is read of them: another tag is another reading of the month."""
    tag = "" if source.deployment_tag is None else f"\0{source.deployment_tag}"
    return hashlib.sha256(("".join(sorted(file.digest for file in files)) + tag).encode()).hexdigest()


def _format_version(kind: str, columns: frozenset[str]) -> str:
    """Told by the columns: what each release of FOCUS added (specification, appendix of changes)."""
    if kind == "aws_cur2":
        return "CUR 2.0"
    if columns & {"invoiceid", "billingaccounttype", "pricingcurrency"}:
        return "FOCUS 1.2"
    if columns & {"skupricedetails", "skumeter", "commitmentdiscountquantity", "capacityreservationid"}:
        return "FOCUS 1.1"
    return "FOCUS 1.0"


def _columns_of(con: duckdb.DuckDBPyConnection, path: Path) -> frozenset[str]:
    """Names in small letters; DuckDB finds a column by them."""
    return frozenset(str(row[0]).lower() for row in con.execute(f"describe from {_scan(path)}").fetchall())


def _look_into(con: duckdb.DuckDBPyConnection, source: BillingSource, file: BillFile, now: datetime) -> None:
    """Fills in columns, months and digest; reads the file through once, so that a cut one is found before its month."""
    bill_format = FORMATS[source.kind]
    file.digest = _digest(file.path)
    try:
        file.columns = _columns_of(con, file.path)
        missing = [
            " or ".join(group)
            for group in bill_format.required
            if not any(column.lower() in file.columns for column in group)
        ]
        if source.kind == "focus" and source.provider is None and "providername" not in file.columns:
            missing.append("ProviderName (or state provider in ledger.yaml)")
        if missing:
            other = next((kind for kind, form in FORMATS.items() if form.period.lower() in file.columns), None)
            hint = f"it looks like kind {other}" if other not in (None, source.kind) else bill_format.remedy
            file.problem = f"lacks {', '.join(missing)}: {hint}"
            return
        file.format_version = _format_version(source.kind, file.columns)
        rows = con.execute(f"select distinct {_month(bill_format.period)} from {_scan(file.path)}").fetchall()
        file.periods = tuple(sorted(row[0] for row in rows if row[0] is not None))
        if not file.periods:
            file.problem = f"{bill_format.period} holds no month: {bill_format.remedy}"
        elif now - file.modified_at < UNFINISHED_FOR and _packing(file.path) == "none" and not _ends_whole(file.path):
            file.problem = "ends in the middle of a line: it is still being written; the next run reads it again"
    except duckdb.Error:
        # The message may quote a line, so it is not kept.
        file.problem = "is cut or damaged: download it again, or wait until it is written whole"


def _set_aside_copies(files: list[BillFile]) -> None:
    """The same bytes under two names are one file; the one written last counts."""
    by_digest: dict[str, BillFile] = {}
    for file in sorted(files, key=lambda each: (each.modified_at, str(each.path))):
        if file.digest in by_digest:
            by_digest[file.digest].status = "superseded"
        by_digest[file.digest] = file


def _delivery_in_force(source: BillingSource, files: Sequence[BillFile], period: date) -> list[BillFile]:
    """The files that are the month: all of them, or those of the folder that was written last.

    A damaged file whose months nobody can read belongs to the months of the folder it lies in.
    """
    folders: dict[Path, list[BillFile]] = defaultdict(list)
    for file in files:
        folders[file.path.parent].append(file)
    speaking = {
        folder: [file for file in inside if period in file.periods or (file.problem and not file.periods)]
        for folder, inside in folders.items()
        if any(period in file.periods for file in inside)
    }
    if source.delivery == "parts":
        return [file for inside in speaking.values() for file in inside]
    newest = max(
        speaking, key=lambda folder: (max(file.modified_at for file in speaking[folder]), str(folder)), default=None
    )
    return speaking[newest] if newest is not None else []


def _create_staging(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "create or replace temp table staged_lines as "
        "select *, cast(null as varchar) as file_path from raw.billing_lines where false"
    )
    con.execute(
        "create or replace temp table staged_rejects "
        "(file_path varchar, billing_period date, reason varchar, field varchar, occurrences bigint)"
    )


def _read_month(con: duckdb.DuckDBPyConnection, source: BillingSource, file: BillFile, period: date) -> None:
    """Adds the month's lines of `file` to the staging tables."""
    bill_format = FORMATS[source.kind]
    columns = file.columns or _columns_of(con, file.path)
    fields = dict(bill_format.fields)
    if source.deployment_tag is not None:
        fields["deployment_tag"] = _Field((), json_keys={bill_format.tags: (source.deployment_tag,)})
    texts = {name: _text_of(wanted, columns) for name, wanted in fields.items()}
    text_list = ", ".join(f"{text} as {name}" for name, text in texts.items())
    typed = ", ".join(
        f"try_cast({name} as {wanted.type}) as {name}" if wanted.type != _TEXT else f"left({name}, 1000) as {name}"
        for name, wanted in fields.items()
    )
    unreadable = " ".join(
        f"when {name} is not null and try_cast({name} as {wanted.type}) is null then ['not_readable', '{name}']"
        for name, wanted in bill_format.fields.items()
        if wanted.type != _TEXT
    )
    missing = " ".join(f"when {name} is null then ['missing_field', '{name}']" for name in _NEEDED)
    con.execute(
        f"""
        create or replace temp table month_lines as
        with read as (
            select {text_list}
            from {_scan(file.path)}
            where {_month(bill_format.period)} = cast($period as date)
        )
        select
            {typed},
            case
                {missing} {unreadable}
                when try_cast(charge_to_at as timestamptz) <= try_cast(charge_from_at as timestamptz)
                    then ['ends_before_it_begins', 'charge_to_at']
            end as rejected
        from read
        """,
        {"period": period},
    )
    unused = (
        "coalesce(reservation_unused_upfront, 0) + coalesce(reservation_unused_recurring, 0)"
        if source.kind == "aws_cur2"
        else "null"
    )
    scratch = "invoice_raw, rejected" + (
        ", reservation_unused_upfront, reservation_unused_recurring" if source.kind == "aws_cur2" else ""
    )
    category = (
        "case when starts_with(commitment_id, 'arn:') and commitment_id like '%:savingsplans:%' then 'savings_plan' "
        "when commitment_id is not null then 'reservation' end"
    )
    con.execute(
        f"""
        insert into staged_lines by name
        select
            $source as source_name, $kind as kind, cast($period as date) as billing_period,
            cast($path as varchar) as file_path, * exclude ({scratch}),
            invoice_raw is not null as has_invoice,
            cast({unused} as {_AMOUNT}) as reservation_unused_amount
            {f", {category} as commitment_category_raw" if source.kind == "aws_cur2" else ""}
        from month_lines
        where rejected is null
        """,
        {"source": source.name, "kind": source.kind, "period": period, "path": str(file.path)},
    )
    con.execute(
        """
        insert into staged_rejects
        select $path, cast($period as date), rejected[1], rejected[2], count(*)
        from month_lines where rejected is not null group by rejected[1], rejected[2]
        """,
        {"period": period, "path": str(file.path)},
    )


def _months_unreadable(con: duckdb.DuckDBPyConnection, files: list[BillFile]) -> set[date]:
    """Counts lines and rejects per file; the months of which too much could not be read, taken out again."""
    counts = dict(con.execute("select file_path, count(*) from staged_lines group by file_path").fetchall())
    rejects = dict(con.execute("select file_path, sum(occurrences) from staged_rejects group by file_path").fetchall())
    broken: set[date] = set()
    for file in files:
        path = str(file.path)
        if path not in counts and path not in rejects:
            continue
        file.line_count, file.rejected_count = int(counts.get(path, 0)), int(rejects.get(path, 0))
        if file.rejected_count > REFUSED_REJECT_RATIO * (file.line_count + file.rejected_count):
            file.status = "refused"
            file.problem = f"{file.rejected_count} of {file.line_count + file.rejected_count} lines cannot be read"
            broken |= set(file.periods)
    con.execute("delete from staged_lines where list_contains(?, billing_period)", [sorted(broken)])
    return broken


def _text_of(wanted: _Field, columns: frozenset[str]) -> str:
    """SQL: the first of a field's columns that is filled; empty and the word NULL are not."""
    found = [_filled(f"cast({quoted(column)} as varchar)") for column in wanted.columns if column.lower() in columns]
    for column, keys in wanted.json_keys.items():
        if column.lower() in columns:
            # Text of JSON in CSV; in Parquet also a map or struct.
            name = quoted(column)
            as_text = f"try_cast(cast({name} as varchar) as json)"
            as_json = f"case typeof({name}) when 'VARCHAR' then {as_text} else to_json({name}) end"
            found += [_filled(f"""json_extract_string({as_json}, '$."{key}"')""") for key in keys]
            found += [_filled(_of_pairs(as_json, key)) for key in keys]
    return f"coalesce({', '.join(found)}, null)" if found else "cast(null as varchar)"


def _of_pairs(as_json: str, key: str) -> str:
    """SQL: the value of a key in a list of `{"key": …, "value": …}`, as BigQuery exports a map."""
    pairs = f"""from_json({as_json}, '[{{"key": "VARCHAR", "value": "VARCHAR"}}]')"""
    return f"case when json_type({as_json}) = 'ARRAY' then list_filter({pairs}, lambda x: x.key = '{key}')[1].value end"


def _filled(text: str) -> str:
    return f"case when upper(trim({text})) not in ('', 'NULL') then trim({text}) end"


def _month(column: str) -> str:
    instant = f"try_cast({_filled(f'cast({quoted(column)} as varchar)')} as timestamptz)"
    return f"cast(date_trunc('month', {instant}) as date)"


def _packing(path: Path) -> str:
    with path.open("rb") as stream:
        if stream.read(4) == b"PAR1":
            return "parquet"
    return compression(path)


def _scan(path: Path) -> str:
    """SQL: a table function over the file. Of CSV every field is text, so that ids keep their leading zeros."""
    name, packed = literal_text(literal(path)), _packing(path)
    if packed == "parquet":
        return f"read_parquet({name})"
    return (
        f"read_csv({name}, all_varchar = true, header = true, delim = ',', quote = '\"', escape = '\"', "
        f"strict_mode = true, null_padding = false, compression = '{packed}', max_line_size = 16777216)"
    )


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(max(path.stat().st_size - 1, 0))
        return stream.read(1) in (b"\n", b"\r")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
