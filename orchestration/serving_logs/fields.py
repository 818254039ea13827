"""SQL that turns the fields of a log line into typed columns, alike for all formats."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

MAX_TOKENS_PER_REQUEST = 100_000_000


@dataclass(frozen=True, slots=True)
class JsonText:
    """JSON that stands as text inside JSON (or in a column of a table): read as text, of which only `fields` pass."""

    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Attributes:
    """An OpenTelemetry list of keys and values, of which only `keys` pass."""

    keys: frozenset[str]


class Scalar(Enum):
    """A field whose values have one JSON type in nearly every log. Where they do, it is read as that type."""

    # As text DuckDB would write each number out, and have it read again: half as much again as the rest of the scan.
    NUMBER = "DOUBLE"


# What is allowed through of a field: one value, an object's own fields, a list of such, or one of the above.
Leaf: TypeAlias = "None | Scalar | Mapping[str, Leaf] | list[Leaf] | JsonText | Attributes"
Fields: TypeAlias = Mapping[str, Leaf]

_ATTRIBUTE: Fields = {
    "key": None,
    "value": {
        "stringValue": None,
        "intValue": None,
        "doubleValue": None,
        "boolValue": None,
    },
}


def project(content: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """The allow-listed fields of a parsed line and nothing else."""
    return {name: _project(content[name], leaf) for name, leaf in fields.items() if name in content}


def _project(value: Any, leaf: Leaf) -> Any:
    if leaf is None or isinstance(leaf, Scalar):
        return value if isinstance(value, str | int | float | bool) else None
    if isinstance(leaf, JsonText):
        return _project_text(value, leaf)
    if isinstance(leaf, Attributes):
        entries = value if isinstance(value, list) else []
        return [
            project(entry, _ATTRIBUTE) for entry in entries if isinstance(entry, dict) and entry.get("key") in leaf.keys
        ]
    if isinstance(leaf, list):
        return [_project(entry, leaf[0]) for entry in value] if isinstance(value, list) else None
    return project(value, leaf) if isinstance(value, dict) else None


def _project_text(value: Any, leaf: JsonText) -> str | None:
    try:
        content = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return None
    return json.dumps(project(content, leaf.fields)) if isinstance(content, dict) else None


def leaf_type(leaf: Leaf, *, typed: bool = False) -> str:
    """The type under which DuckDB reads an allow-listed field: text, or a struct or list of text.

    Where `typed`, numbers are read as numbers, and one that is none stops the query.
    """
    if isinstance(leaf, Scalar):
        return leaf.value if typed else "VARCHAR"
    if leaf is None or isinstance(leaf, JsonText):
        return "VARCHAR"
    if isinstance(leaf, Attributes):
        return leaf_type([_ATTRIBUTE], typed=typed)
    if isinstance(leaf, list):
        return f"{leaf_type(leaf[0], typed=typed)}[]"
    inner = (f"{quoted(name)} {leaf_type(inner, typed=typed)}" for name, inner in leaf.items())
    return f"STRUCT({', '.join(inner)})"


def quoted(name: str) -> str:
    """SQL: a name as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal_text(text: str) -> str:
    """SQL: a text as a literal."""
    return "'" + text.replace("'", "''") + "'"


# Marks that turn the direction of writing are among them: with them one name can be made to look like another.
_CONTROL = r"'[\x00-\x1f\x7f]|[\x{80}-\x{9f}\x{200b}-\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}\x{feff}]'"


def clean(column: str, *, is_plain: bool = False) -> str:
    """SQL, branches of a CASE: the text without control characters, at most 128 characters.

    Null for empty and for sentinel words. The plain text is the common case and must cost no rewriting. Where
    `is_plain`, the caller sees to it that there is no `has_control`.
    """
    beside = "" if is_plain else f" or {has_control(column)}"
    whole = column if is_plain else f"regexp_replace({column}, {_CONTROL}, '', 'g')"
    # Most names are longer than the words, and counting their bytes looks at none of them.
    usual = f"when strlen({column}) between 5 and 128 then {column} " if is_plain else ""
    return (
        f"{usual}when {column} in ('', 'None', 'NULL') then null "
        f"when length({column}) > 128{beside} then nullif(left({whole}, 128), '') "
        f"else {column}"
    )


def has_control(column: str) -> str:
    """SQL: whether a text holds a character that `clean` leaves out."""
    return f"regexp_matches({column}, {_CONTROL})"


def word(column: str) -> str:
    """SQL: one of a format's own words (a status); null for anything else.

    Letters, digits and underscores, at most 32: what a caller wrote does not pass as a word.
    """
    # What nearly all calls bear first, and the length apart, for a counted repetition is twice as slow.
    return (
        f"case when {column} = 'success' then {column} "
        f"when length({column}) <= 32 and regexp_full_match({column}, '[A-Za-z][A-Za-z0-9_]*') then {column} end"
    )


def digest(column: str) -> str:
    """SQL: an id as its 128-bit MD5; null for empty. Enough to tell ids apart, and a client's own words stay out."""
    return f"cast(md5_number(nullif({column}, '')) as uuid)"


def tenant(column: str, *, is_plain: bool = False) -> str:
    """SQL: a tenant name, as `clean`; an e-mail address is replaced by a stable digest, for it is personal data."""
    name = clean(column, is_plain=is_plain)
    return f"case when contains({column}, '@') then 'sha256:' || left(sha256({column}), 16) {name} end"


def place(column: str) -> str:
    """SQL: the pod, process or host that served a call; null for empty.

    What is no name of a host, in small letters and perhaps with a port, is replaced by a digest: it tells replicas
    apart as well, and nothing that a caller wrote passes. Of an IP address the port is left out, so that it can still
    be matched with the digest of a pod's address.
    """
    address = r"\d+\.\d+\.\d+\.\d+(:\d+)?|\[?[0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:.]*(\](:\d+)?)?"
    # The port stands behind the bracket, or behind the only colon.
    host = rf"regexp_replace(regexp_replace({column}, '^\[(.*)\](:\d+)?$', '\1'), '^([^:]+):\d+$', '\1')"
    return (
        f"case when {column} in ('', 'None', 'NULL') then null "
        f"when regexp_full_match({column}, '{address}') then 'sha256:' || left(sha256({host}), 16) "
        rf"when regexp_full_match({column}, '[a-z0-9][a-z0-9._-]{{0,120}}(:\d{{1,5}})?') then {column} "
        f"else 'sha256:' || left(sha256({column}), 16) end"
    )


def is_count(number: str) -> str:
    """SQL: whether a DOUBLE is a whole number of tokens; null when it is null."""
    return f"({number} between 0 and {MAX_TOKENS_PER_REQUEST} and {number} = floor({number}))"


def count(number: str) -> str:
    """SQL: a DOUBLE as a number of tokens; null when it is none."""
    return f"case when {is_count(number)} then cast({number} as bigint) end"


def instant(text: str, zone: str | None = None) -> str:
    """SQL: an instant written as ISO text or as epoch seconds, milli-, micro- or nanoseconds.

    Text without a zone is in `zone`, an IANA name; UTC where there is none. Of an hour that clocks show twice it is the
    second one (standard time), and an hour that they skip is read as if they had not been put forward.
    """
    number = f"try_cast({text} as double)"
    return (
        f"case when {number} between 1e9 and 1e10 then to_timestamp({number}) "
        f"when {number} between 1e12 and 1e13 then to_timestamp({number} / 1e3) "
        f"when {number} between 1e15 and 1e16 then to_timestamp({number} / 1e6) "
        f"when {number} between 1e18 and 1e19 then make_timestamptz(try_cast({text} as bigint) // 1000) "
        f"when {number} is null then {_zoned(text, zone)} end"
    )


def _zoned(text: str, zone: str | None) -> str:
    if zone is None or zone == "UTC":  # the connection's own zone (warehouse.py)
        return f"try_cast(cast({text} as varchar) as timestamptz)"
    states_zone = rf"regexp_matches({text}, '\d:\d\d[0-9:.]*\s*(Z|z|UTC|GMT|[+-]\d\d(:?\d\d)?)$')"
    return (
        f"case when {states_zone} then try_cast({text} as timestamptz) "
        f"else timezone({literal_text(zone)}, try_cast({text} as timestamp)) end"
    )


def strptime_instant(text: str, pattern: str, zone: str | None) -> str:
    """SQL: an instant written after a strptime pattern; without %z it is in `zone`, as with `instant`."""
    parsed = f"try_strptime({text}, {literal_text(pattern)})"
    return parsed if "%z" in pattern else f"timezone({literal_text(zone or 'UTC')}, {parsed})"


UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def number_instant(text: str, unit: str, origin: str = "1970-01-01T00:00:00+00:00") -> str:
    """SQL: an instant counted in `unit` since `origin`; null beyond three centuries, where intervals would overflow."""
    seconds = f"try_cast({text} as double) / {UNITS_PER_SECOND[unit]}"
    return (
        f"case when abs({seconds}) < 1e10 then timestamptz {literal_text(origin)} "
        f"+ to_microseconds(cast(round({seconds} * 1e6) as bigint)) end"
    )
