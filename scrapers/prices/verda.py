"""Verda (formerly DataCrunch) instance prices, per instance.

Endpoint   GET https://api.verda.com/v1/instance-types?currency=usd (api.datacrunch.io answers too); with a token also
           /v1/instance-availability?is_spot=false and =true.
Auth       none, as two public readers of 2026 ask; the SDK asks with an OAuth access token. A token is sent as a bearer
           token if `api_key_env` in ledger.yaml names the variable that holds it. POST /v1/oauth2/token issues it for
           client credentials, for a short time: put it into the variable just before the run.
Paging     none: one answer, a bare list.
A row      one instance type in one of two ways to pay: `price_per_hour` (pay as you go) and `spot_price`. Prices are
           the same in every location.
Unit       per instance and hour, decimal strings, in the `currency` the row states.
Quirks     `gpu_memory` is the total of the instance; a record states the share of one GPU. Spot was exactly half of the
           other price in one series and 0.35 of it in another: set by Verda, no evidence of a market. The SDK calls the
           field `spot_price_per_hour`; both names are read. Dynamic and serverless prices are other products. A price
           does not mean capacity: what can be had where is another question, which needs a token (public readers send
           one). It lists the types per location; a record says whether any location has one, and nothing where it was
           not asked or not answered. The list moves often: by a public comparison A100 40 GB stood at 1.282 on
           2026-09-24 and at 1.307 on 2026-10-05. V100 fell from 0.89 to 0.1381 (SkyPilot catalogue, 2026); its spot
           price, 0.35 of that, would lie under the bound of the GPU (seed gpu_models) and be held back.
Verified   2026-11-24 against recordings of 2024 to 2026 (4 types, all fields; availability in 2 locations) and the
           fields of the SDK, not live. Unverified until the first call: that no token is needed. The site's terms bar
           scrapers; this is the API.
"""

import logging
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from scrapers.errors import IncompleteSnapshotError, ScrapeError
from scrapers.prices.base import Fetched, KeyUse, PriceSource, Pull, Unchanged, expect_rows, json_payloads
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

_log = logging.getLogger(__name__)

_SPOT_FIELDS = ("spot_price", "spot_price_per_hour")
_OTHER_PRODUCTS = ("dynamic_price", "serverless_price", "serverless_spot_price")


class Verda(PriceSource):
    """Verda's list of instance types."""

    name = "verda"
    title = "Verda instance types"
    docs = "https://api.verda.com/v1/docs"
    base_url = "https://api.verda.com"
    key = KeyUse.OPTIONAL
    dataset = "instance-types"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Fetch the list in USD, and with a token what is available."""
        answer = pull.client.get(pull.url("/v1/instance-types"), params={"currency": "usd"}, headers=pull.bearer)
        if not expect_rows(pull.json(answer), place=pull.dataset):
            raise IncompleteSnapshotError(f"{pull.dataset}: the list is empty; fetch it again")
        pull.keep(answer)
        if pull.options.api_key:
            for is_spot in ("false", "true"):
                _keep_availability(pull, is_spot)
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return a pay-as-you-go and a spot record per instance type that has a GPU."""
        rows = RecordCollector()
        lists = [(payload, expect_rows(value, place=payload.name)) for payload, value in json_payloads(snapshot)]
        stocks = [(payload.params.get("is_spot") == "true", items) for payload, items in lists if _is_stock(items)]
        available = {
            model: _available_types([items for is_spot, items in stocks if is_spot == (model == "spot_price")])
            for model in ("price_per_hour", "spot_price")
        }
        for payload, items in lists:
            if _is_stock(items):
                continue
            for number, item in enumerate(items, start=1):
                location = f"{payload.name} item {number}"
                with rows.rejecting(location):
                    if not isinstance(item, dict):
                        raise RejectedValueError(Reason.UNREADABLE_ROW, field="item", value=item)
                    if _gpu_count(item) == 0:
                        rows.skip("no_gpu")
                        continue
                    for product in _OTHER_PRODUCTS:
                        if item.get(product) is not None:
                            rows.skip(product)
                    for model, types in available.items():
                        self._add(item, model, rows, available=types, location=location, url=payload.url)
        return rows.result()

    def _add(
        self,
        item: dict[str, Any],
        model: str,
        rows: RecordCollector,
        *,
        available: set[object] | None,
        location: str,
        url: str,
    ) -> None:
        fields = _SPOT_FIELDS if model == "spot_price" else (model,)
        stated = next((name for name in fields if item.get(name) is not None), None)
        if stated is None and model == "spot_price":
            rows.skip("spot_not_stated")
            return
        location = f"{location}.{stated or model}"
        with rows.rejecting(location):
            instance_type, count = text(item, "instance_type"), _gpu_count(item)
            record = PriceRecord(
                sku_id=instance_type,
                offer_id=f"{instance_type}/{model}",
                instance_type=instance_type,
                region_raw="global",
                gpu_name_raw=optional_text(item, "name"),
                gpu_count_raw=count,
                gpu_memory_gb_raw=_memory_of_one(item, count),
                pricing_model_raw=model,
                product_name_raw=optional_text(item, "description"),
                price_amount=price(item.get(stated or model), field=stated or model),
                price_currency=_usd(item),
                price_unit_raw="instance hour",
                is_available=None if available is None else instance_type in available,
                source_url=url,
            )
            rows.add(record, key=(record.offer_id,), location=location)


def _keep_availability(pull: Pull, is_spot: str) -> None:
    """Keep which types can be had; prices land without it where it is not answered."""
    try:
        answer = pull.client.get(
            pull.url("/v1/instance-availability"), params={"is_spot": is_spot}, headers=pull.bearer
        )
        expect_rows(pull.json(answer, place="instance-availability"), place="instance-availability")
    except ScrapeError as error:
        _log.warning("verda: prices without availability: %s", error)
    else:
        pull.keep(answer, f"availability-{'spot' if is_spot == 'true' else 'on-demand'}.json")


def _is_stock(items: Sequence[object]) -> bool:
    """Whether rows say what can be had in a location; the others are instance types."""
    return any(isinstance(item, dict) and "location_code" in item for item in items)


def _available_types(stocks: Sequence[Sequence[object]]) -> set[object] | None:
    """Return the types that any location has; None where nothing was asked, or a location cannot be read."""
    types: set[object] = set()
    for location in (location for items in stocks for location in items):
        listed = location.get("availabilities") if isinstance(location, dict) else None
        if not isinstance(listed, list):
            return None
        types |= {name for name in listed if isinstance(name, str)}
    return types if stocks else None


def _usd(item: dict[str, Any]) -> str:
    """Return USD. The list is asked for in USD; an answer in another currency would be another list."""
    currency = optional_text(item, "currency")
    if currency is None:
        raise RejectedValueError(Reason.CURRENCY_MISSING, field="currency")
    if currency.upper() != "USD":
        raise RejectedValueError(Reason.CURRENCY_NOT_USD, field="currency", value=currency)
    return "USD"


def _gpu_count(item: dict[str, Any]) -> Decimal:
    gpu = item.get("gpu")
    count = quantity(gpu.get("number_of_gpus") if isinstance(gpu, dict) else None, field="gpu.number_of_gpus")
    if count is None:
        raise RejectedValueError(Reason.MISSING_FIELD, field="gpu.number_of_gpus")
    if not count.is_finite() or count < 0:
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="gpu.number_of_gpus", value=count)
    return count


def _memory_of_one(item: dict[str, Any], count: Decimal) -> Decimal | None:
    """Return the share of one GPU, None where it is not stated or does not come out even."""
    memory = item.get("gpu_memory")
    total = quantity(memory.get("size_in_gigabytes") if isinstance(memory, dict) else None, field="gpu_memory")
    if total is None:
        return None
    share = total / count
    return share if share * count == total else None
