"""JarvisLabs list and spot prices, per GPU-hour.

Endpoint   GET https://backendn.jarvislabs.net/misc/server_meta, one of the regional back ends, which mirror each other.
Auth       bearer token; JL_API_KEY is the official SDK's variable.
Paging     none: one answer.
A row      one GPU type in one region, as a virtual machine, a container, or undivided (null) as in Europe; where the
           source sells it, its spot price.
Unit       per GPU-hour (`price_per_hour`, `spot_price`): `num_gpus` is how many one machine can have, no bundle, and n
           GPUs cost n times as much. vCPUs and memory are included, disk is not.
           The currency is the account's, by its billing country, in `currency`: USD, or INR, about 85 times as much.
           An answer in rupees is refused. Recordings have no `currency` and are read as USD.
Quirks     The same GPU is listed twice, as vm and as container, at the same price. Spot is sold for containers only;
           the spot price on other rows cannot be bought. Null or absent spot: none. `price_per_week` and
           `price_per_month` contradict each other and are unused by the SDK. `reserved_pricing` is sold by people, not
           by the API. One back end was seen to disagree on a price in Europe (3.80 against 3.99), so one is asked,
           always the same. The edition of RTX PRO 6000 and the form of A100 are not stated.
Verified   2026-11-24 against a recording of 2026 (7 GPU rows) and an account holder's public survey of the API of
           2026-08-17, not live.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from scrapers.errors import IncompleteSnapshotError, PermanentError, one_line
from scrapers.prices.base import Fetched, KeyUse, PriceSource, Pull, Unchanged, expect_list, json_payloads
from scrapers.records import (
    ParsedSnapshot,
    PriceRecord,
    Reason,
    RecordCollector,
    RejectedValueError,
    optional_text,
    price,
    quantity,
    text,
)
from scrapers.snapshot import Snapshot

# purchase option -> price, and the counts of free devices, the first that is stated
_OPTIONS = {
    "on-demand": ("price_per_hour", ("effective_num_free_devices", "num_free_devices")),
    "spot": ("spot_price", ("spot_num_free_devices",)),
}


class Jarvislabs(PriceSource):
    """JarvisLabs' list of server pools."""

    name = "jarvislabs"
    title = "JarvisLabs GPU prices"
    docs = "https://docs.jarvislabs.ai/"
    base_url = "https://backendn.jarvislabs.net"
    key = KeyUse.REQUIRED
    api_key_env = "JL_API_KEY"
    dataset = "server-meta"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Fetch the list of pools."""
        answer = pull.client.get(pull.url("/misc/server_meta"), headers=pull.bearer)
        if not _pools(pull.json(answer), place=pull.dataset):
            raise IncompleteSnapshotError(f"{pull.dataset}: 'server_meta' is empty; fetch it again")
        pull.keep(answer)
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per pool, and one for its spot price."""
        rows = RecordCollector()
        for payload, value in json_payloads(snapshot):
            for number, pool in enumerate(_pools(value, place=payload.name), start=1):
                location = f"{payload.name} server_meta[{number}]"
                if not isinstance(pool, dict):
                    error = RejectedValueError(Reason.UNREADABLE_ROW, field="server_meta", value=pool)
                    rows.reject(error, location=location)
                    continue
                for option in _OPTIONS:
                    _add(pool, option, rows, location=location, url=payload.url)
        return rows.result()


def _pools(value: object, *, place: str) -> list[Any]:
    pools = expect_list(value, "server_meta", place=place)
    currency = value.get("currency", "USD") if isinstance(value, dict) else None
    if currency != "USD":
        raise PermanentError(
            f"{place}: the prices are in {one_line(currency, limit=40)}, the currency this account is billed in; use "
            "the key of an account that is billed in USD"
        )
    return pools


def _add(pool: Mapping[str, Any], option: str, rows: RecordCollector, *, location: str, url: str) -> None:
    price_field, free_fields = _OPTIONS[option]
    location = f"{location}.{price_field}"
    with rows.rejecting(location):
        workload = optional_text(pool, "workload_type")
        if option == "spot":
            if pool.get(price_field) is None:
                rows.skip("no_spot_price")
                return
            if workload != "container":
                rows.skip("spot_of_no_container")
                return
        gpu, region = text(pool, "gpu_type"), text(pool, "region")
        sku = f"{gpu}/{workload or 'any'}"
        free = next((pool[field] for field in free_fields if isinstance(pool.get(field), int)), None)
        record = PriceRecord(
            sku_id=sku,
            offer_id=f"{sku}/{region}/{option}",
            region_raw=region,
            gpu_name_raw=gpu,
            gpu_count_raw=Decimal(1),
            gpu_memory_gb_raw=quantity(pool.get("vram"), field="vram"),
            pricing_model_raw=option,
            offering_class_raw=workload,
            price_amount=price(pool.get(price_field), field=price_field),
            price_currency="USD",
            price_unit_raw=f"GPU hour ({price_field})",
            is_available=None if free is None else free > 0,
            source_url=url,
        )
        rows.add(record, key=(record.offer_id,), location=location)
