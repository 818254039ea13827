"""What was read of a price snapshot, as bytes: what landing keeps of it once the source's own bytes are pruned.

JSON, one object: `records` and `rejections` with their fields by name, those that are null left out, so that a field
that PriceRecord gets later does not matter to what was kept before; `skipped` as it is. Amounts are decimal text, as
the source stated them, and instants are ISO 8601: what is read back equals what was written.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from scrapers.errors import DamagedLandingError
from scrapers.records import ParsedSnapshot, PriceRecord, Reason, RejectedValueError, Rejection
from scrapers.snapshot import Payload

_READ_BACK: Mapping[str, Callable[[str], Any]] = {
    "price_amount": Decimal,
    "gpu_count_raw": Decimal,
    "gpu_memory_gb_raw": Decimal,
    "effective_at": datetime.fromisoformat,
    "reason": Reason,
}


def records_as_bytes(parsed: ParsedSnapshot) -> bytes:
    """Return all that a parser read of a snapshot, to be read back by `read_records`."""
    content = {
        "records": [_stated(record) for record in parsed.records],
        "rejections": [_stated(rejection) for rejection in parsed.rejections],
        "skipped": parsed.skipped,
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def read_records(kept: Payload) -> ParsedSnapshot:
    """Return what was read of a snapshot before its bytes were pruned.

    Raises:
        DamagedLandingError: the file is not the one that was kept.
    """
    with kept.open() as stream:
        content = stream.read()
    try:
        found = json.loads(content)
        return ParsedSnapshot(
            tuple(PriceRecord(**_read_back(item)) for item in found["records"]),
            tuple(
                Rejection(**{"field": None, "detail": None, **_read_back(item)})  # null is left out
                for item in found["rejections"]
            ),
            dict(found["skipped"]),
        )
    except (ValueError, TypeError, KeyError, RejectedValueError) as error:
        raise DamagedLandingError(f"the records kept in {kept.path} cannot be read: {type(error).__name__}") from error


def _stated(row: PriceRecord | Rejection) -> dict[str, Any]:
    values = {field.name: getattr(row, field.name) for field in fields(row)}
    return {name: _as_json(value) for name, value in values.items() if value is not None}


def _as_json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    return value.isoformat() if isinstance(value, datetime) else value


def _read_back(item: dict[str, Any]) -> dict[str, Any]:
    return {name: _READ_BACK[name](value) if name in _READ_BACK else value for name, value in item.items()}
