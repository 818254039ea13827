"""Hot Aisle's virtual machine prices, per machine. AMD Instinct GPUs only.

Endpoint   GET https://admin.hotaisle.app/api/teams/ for the team of the key, then GET
           /api/teams/{team}/virtual_machines/available/, whose path holds the team's handle.
Auth       `Authorization: Token …`, key read from HOTAISLE_API_KEY. /teams/ lists the teams the key has a role in, so
           that the team needs no setting; of several teams the first by handle is asked.
Paging     none: a bare list.
A row      one shape of virtual machine. The answer gives it no id: the record's is made of GPUs, CPU cores and memory.
           The answer names no region: there is one, in Michigan.
Unit       the answer states whole US cents per machine and hour (`OnDemandPrice`); a record states that divided by 100.
Quirks     `OnDemandPrice` is left out where it is zero: not sold on demand. `Quantity` is how many can be had now. A
           sold-out shape may leave the list, and an empty list is refused, so the last prices stay in force. The memory
           of a GPU is not stated. The answer about teams is not kept; the handle lands as part of the address.
Left out   Bare metal (/bare_metal/available/): the same shape, by public readers at 27.12 USD an hour for eight MI300X
           against 8 x 1.99 in virtual machines, prepaid for at least 480 minutes. Whether its list is empty while the
           machines are let is not known: a list that shrinks by a fifth is refused, so it might hold up the prices
           above.
Verified   2026-11-23 against the provider's published API description (swagger 2.0) and an example of 199 cents for one
           MI300X, not live. Unverified until the first call: that the price is the whole machine's, as two public
           readers take it, and whether prices differ between teams.
"""

from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import quote

from scrapers.errors import IncompleteSnapshotError, PermanentError
from scrapers.prices.base import Fetched, KeyUse, PriceSource, Pull, Unchanged, expect_rows, json_payloads
from scrapers.records import (
    ParsedSnapshot,
    PriceRecord,
    Reason,
    RecordCollector,
    RejectedValueError,
    price,
    quantity,
    text,
)
from scrapers.snapshot import Snapshot

_CENT = Decimal("0.01")


class HotAisle(PriceSource):
    """Hot Aisle's list of virtual machines that can be had."""

    name = "hotaisle"
    title = "Hot Aisle virtual machines"
    docs = "https://admin.hotaisle.app/api/docs/"
    base_url = "https://admin.hotaisle.app"
    key = KeyUse.REQUIRED
    api_key_env = "HOTAISLE_API_KEY"
    dataset = "virtual-machines"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Ask for the key's team, then fetch the team's list."""
        headers = {"Authorization": f"Token {pull.options.api_key}"} if pull.options.api_key else {}
        teams = pull.client.get(pull.url("/api/teams/"), headers=headers)
        handles = sorted(
            team["handle"]
            for team in expect_rows(pull.json(teams, place="teams"), place="teams")
            if isinstance(team, dict) and isinstance(team.get("handle"), str) and not team.get("invitation")
        )
        if not handles:
            raise PermanentError("the API key has a role in no team: give it one, any role will do")
        answer = pull.client.get(
            pull.url(f"/api/teams/{quote(handles[0], safe='')}/virtual_machines/available/"), headers=headers
        )
        if not expect_rows(pull.json(answer), place=pull.dataset):
            raise IncompleteSnapshotError(f"{pull.dataset}: the list is empty; fetch it again")
        pull.keep(answer)
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per shape that has GPUs and is sold on demand."""
        rows = RecordCollector()
        for payload, value in json_payloads(snapshot):
            for number, item in enumerate(expect_rows(value, place=payload.name), start=1):
                location = f"{payload.name} item {number}"
                with rows.rejecting(location):
                    if record := self._record(item, rows, url=payload.url):
                        rows.add(record, key=(record.sku_id,), location=location)
        return rows.result()

    def _record(self, item: object, rows: RecordCollector, *, url: str) -> PriceRecord | None:
        specs = item.get("Specs") if isinstance(item, dict) else None
        if not isinstance(item, dict) or not isinstance(specs, dict):
            raise RejectedValueError(Reason.UNREADABLE_ROW, field="Specs", value=item)
        gpus = specs.get("gpus") or []
        if not gpus:
            rows.skip("no_gpu")
            return None
        if not item.get("OnDemandPrice"):
            rows.skip("not_sold_on_demand")
            return None
        if not isinstance(gpus, list) or len(gpus) != 1 or not isinstance(gpus[0], dict):
            raise RejectedValueError(Reason.UNREADABLE_FIELD, field="Specs.gpus", value=gpus)
        model, count = text(gpus[0], "model"), _whole(gpus[0], "count")
        memory_gib = _whole(specs, "ram_capacity") // 2**30
        shape = f"vm-{count}x{model}-{_whole(specs, 'cpu_cores')}cpu-{memory_gib}gib"
        quantity_now = item.get("Quantity")
        return PriceRecord(
            sku_id=shape,
            offer_id=shape,
            instance_type=shape,
            region_raw="global",
            gpu_name_raw=model,
            gpu_count_raw=quantity(count, field="count"),
            pricing_model_raw="on_demand",
            price_amount=price(item["OnDemandPrice"], field="OnDemandPrice", factor=_CENT),
            price_currency="USD",
            price_unit_raw="instance hour, from cents",
            is_available=quantity_now > 0 if isinstance(quantity_now, int) else None,
            source_url=url,
        )


def _whole(row: Mapping[str, object], field: str) -> int:
    """Return a count that the shape is named by."""
    value = row.get(field)
    if value is None:
        raise RejectedValueError(Reason.MISSING_FIELD, field=field)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field=field, value=value)
    return value
