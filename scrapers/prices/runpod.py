"""RunPod list and spot prices, per GPU-hour.

Endpoint   POST https://api.runpod.io/graphql, query `gpuTypes`.
Auth       none for gpuTypes; a key, if given, is sent as a bearer token.
Paging     none: one answer with all GPU types (48 in 2026-10).
A row      one GPU type in one tier: `secure` (data centres), `community` (hosts), and the spot price of each.
Unit       USD per GPU-hour (a pod of n GPUs costs n times as much), the same everywhere. The answer states neither
           unit nor currency; both are RunPod's documented convention.
Quirks     0 or null: not offered in that tier. Exactly 0.5 is a placeholder where a tier does not offer the type
           (twelve cells on 2026-10), and only the secureCloud/communityCloud flags tell it from a true 0.5. MIG slices
           are types of their own. The id "unknown" is RunPod's own catch-all. GraphQL reports errors with status 200.
Verified   2026-11-23 against a recording of 2026-10 (five fields), not live.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from scrapers.errors import IncompleteSnapshotError, SchemaDriftError, one_line
from scrapers.prices.base import (
    Fetched,
    KeyUse,
    PriceSource,
    Pull,
    Unchanged,
    expect_list,
    expect_object,
    json_payloads,
)
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

_QUERY = (
    "query { gpuTypes { id displayName memoryInGb secureCloud communityCloud "
    "securePrice communityPrice secureSpotPrice communitySpotPrice } }"
)
_PLACEHOLDER = Decimal("0.5")
# tier -> price field, flag that says whether the tier offers the type at all
_TIERS = {
    "secure": ("securePrice", "secureCloud"),
    "community": ("communityPrice", "communityCloud"),
    "secure_spot": ("secureSpotPrice", "secureCloud"),
    "community_spot": ("communitySpotPrice", "communityCloud"),
}


class Runpod(PriceSource):
    """RunPod's public GPU type list."""

    name = "runpod"
    title = "RunPod GPU types"
    docs = "https://docs.runpod.io/sdks/graphql/manage-pods"
    base_url = "https://api.runpod.io"
    key = KeyUse.OPTIONAL
    dataset = "gpu-types"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Ask for all GPU types."""
        answer = pull.client.post_json(pull.url("/graphql"), {"query": _QUERY}, headers=pull.bearer)
        if not self._types(pull.json(answer), place=pull.dataset):
            raise IncompleteSnapshotError(f"{pull.dataset}: 'gpuTypes' is empty; fetch it again")
        pull.keep(answer)
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per GPU type and tier that is offered."""
        rows = RecordCollector()
        for payload, value in json_payloads(snapshot):
            for number, item in enumerate(self._types(value, place=payload.name), start=1):
                location = f"{payload.name} gpuTypes[{number}]"
                if not isinstance(item, dict):
                    error = RejectedValueError(Reason.UNREADABLE_ROW, field="gpuTypes", value=item)
                    rows.reject(error, location=location)
                elif item.get("id") == "unknown":
                    rows.skip("unknown_type")
                else:
                    for tier in _TIERS:
                        self._add(item, tier, rows, location=location, url=payload.url)
        return rows.result()

    def _types(self, value: object, *, place: str) -> list[Any]:
        answer = expect_object(value, place=place)
        errors = answer.get("errors")
        if errors:
            first = errors[0] if isinstance(errors, list) else errors
            message = first.get("message") if isinstance(first, dict) else first
            raise SchemaDriftError(
                f"{place}: the GraphQL answer reports an error: {one_line(message)}. Compare the query with the "
                "provider's schema"
            )
        data = expect_object(answer.get("data"), place=f"{place} field 'data'")
        return expect_list(data, "gpuTypes", place=place)

    def _add(self, item: Mapping[str, Any], tier: str, rows: RecordCollector, *, location: str, url: str) -> None:
        price_field, flag_field = _TIERS[tier]
        is_spot = tier.endswith("_spot")
        amount, is_offered = item.get(price_field), item.get(flag_field)
        if is_spot and price_field not in item:
            rows.skip("spot_not_stated")
            return
        if is_offered is False or (price_field in item and amount is None) or (amount == 0 and amount is not False):
            rows.skip("not_offered")
            return
        location = f"{location}.{price_field}"
        with rows.rejecting(location):
            gpu = text(item, "id")
            paid = _real_price(amount, is_offered, field=price_field)
            record = PriceRecord(
                sku_id=f"{gpu}/{tier}",
                offer_id=f"{gpu}/{tier}",
                region_raw="global",
                gpu_name_raw=gpu,
                gpu_count_raw=Decimal(1),
                gpu_memory_gb_raw=quantity(item.get("memoryInGb"), field="memoryInGb"),
                pricing_model_raw=tier,
                product_name_raw=optional_text(item, "displayName"),
                price_amount=paid,
                price_currency="USD",
                price_unit_raw="GPU Per Hour",
                source_url=url,
            )
            rows.add(record, key=(record.sku_id,), location=location)


def _real_price(amount: object, is_offered: object, *, field: str) -> Decimal:
    paid = price(amount, field=field)
    if paid == _PLACEHOLDER and is_offered is not True:
        raise RejectedValueError(Reason.PLACEHOLDER_PRICE, field=field, value=paid)
    return paid
