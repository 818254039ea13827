"""Shadeform, a broker: the offers of a dozen GPU clouds, per instance-hour.

Endpoint   GET https://api.shadeform.ai/v1/instances/types
Auth       header X-API-KEY (SHADEFORM_API_KEY). A keyless answer was reported by a peer and is not relied upon.
Paging     none: one answer with all types.
A row      one instance type of one underlying cloud in one of its regions. `provider_raw` is that cloud, the source is
           the broker: these offers are the cloud's own, and seed price_sources says so (is_broker).
Unit       cents per hour of the whole instance (`hourly_price`), turned into dollars here, exactly. The answer states
           no currency.
Quirks     The GPU is told by `gpu_type` and `interconnect` together: H100 alone may be SXM or PCIe, at prices that
           differ by a third. A region with `available` false has a price and no capacity. A type without regions is
           not sold. Clouds are named in Shadeform's way (datacrunch is Verda, lambdalabs is Lambda): seed
           provider_names.
Verified   2026-11-23 against the documented example, not live. Unverified until the first live call: that the cents are
           US cents, and which words `cloud` and `interconnect` take.
"""

from collections.abc import Mapping
from typing import Any

from scrapers.errors import IncompleteSnapshotError
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


class Shadeform(PriceSource):
    """Shadeform's list of instance types."""

    name = "shadeform"
    title = "Shadeform instance types"
    docs = "https://docs.shadeform.ai/api-reference/instances/instances-types"
    base_url = "https://api.shadeform.ai"
    key = KeyUse.REQUIRED
    api_key_env = "SHADEFORM_API_KEY"
    dataset = "instance-types"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Ask for all instance types."""
        answer = pull.client.get(
            pull.url("/v1/instances/types"), headers={"X-API-KEY": pull.options.api_key} if pull.options.api_key else {}
        )
        if not expect_list(pull.json(answer), "instance_types", place=pull.dataset):
            raise IncompleteSnapshotError(f"{pull.dataset}: 'instance_types' is empty; fetch it again")
        pull.keep(answer)
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per instance type and region."""
        rows = RecordCollector()
        for payload, value in json_payloads(snapshot):
            for number, item in enumerate(expect_list(value, "instance_types", place=payload.name), start=1):
                location = f"{payload.name} instance_types[{number}]"
                with rows.rejecting(location):
                    self._add(item, rows, location=location, url=payload.url)
        return rows.result()

    def _add(self, item: object, rows: RecordCollector, *, location: str, url: str) -> None:
        if not isinstance(item, dict):
            raise RejectedValueError(Reason.UNREADABLE_ROW, field="instance_types", value=item)
        configuration = item.get("configuration")
        if not isinstance(configuration, dict):
            raise RejectedValueError(Reason.MISSING_FIELD, field="configuration")
        regions = item.get("availability")
        if not isinstance(regions, list):
            raise RejectedValueError(Reason.MISSING_FIELD, field="availability")
        count = quantity(configuration.get("num_gpus"), field="num_gpus")
        if count is None or count <= 0:
            rows.skip("no_gpu")
            return
        if not regions:
            rows.skip("no_region")
        for number, region in enumerate(regions, start=1):
            with rows.rejecting(f"{location}.availability[{number}]"):
                record = _record(item, configuration, region, url=url)
                rows.add(record, key=(record.sku_id, record.region_raw), location=location)


def _record(item: Mapping[str, Any], configuration: Mapping[str, Any], region: object, *, url: str) -> PriceRecord:
    if not isinstance(region, dict):
        raise RejectedValueError(Reason.UNREADABLE_ROW, field="availability", value=region)
    cloud, shade_type = text(item, "cloud"), text(item, "shade_instance_type")
    cloud_type = optional_text(item, "cloud_instance_type")
    available = region.get("available")
    sku = "/".join(filter(None, [cloud, shade_type, cloud_type]))
    return PriceRecord(
        provider_raw=cloud,
        sku_id=sku,
        offer_id=sku,
        instance_type=cloud_type or shade_type,
        region_raw=text(region, "region"),
        gpu_name_raw=" ".join(
            filter(None, [text(configuration, "gpu_type"), optional_text(configuration, "interconnect")])
        ),
        gpu_count_raw=quantity(configuration.get("num_gpus"), field="num_gpus"),
        gpu_memory_gb_raw=quantity(configuration.get("vram_per_gpu_in_gb"), field="vram_per_gpu_in_gb"),
        pricing_model_raw=optional_text(item, "deployment_type") or "vm",
        price_amount=price(item.get("hourly_price"), field="hourly_price").scaleb(-2),
        price_currency="USD",
        price_unit_raw="Instance Hour (stated in cents)",
        is_available=available if isinstance(available, bool) else None,
        source_url=url,
    )
