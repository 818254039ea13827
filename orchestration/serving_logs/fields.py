"""SQL that turns the fields of a log line into typed columns, alike for all formats."""

from collections.abc import Mapping
from typing import Any

MAX_TOKENS_PER_REQUEST = 100_000_000


def project(content: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The allow-listed fields of a parsed line and nothing else."""
    kept: dict[str, Any] = {}
    for name, leaf in fields.items():
        value = content.get(name)
        if leaf is None:
            kept[name] = value if isinstance(value, str | int | float | bool) else None
        elif isinstance(value, dict):
            kept[name] = project(value, leaf)
    return kept


def leaf_type(leaf: Mapping[str, Any] | None) -> str:
    """The type under which DuckDB reads an allow-listed field: text, or a struct of text."""
    if leaf is None:
        return "VARCHAR"
    return "STRUCT(" + ", ".join(f"{name} {leaf_type(inner)}" for name, inner in leaf.items()) + ")"


def clean(column: str) -> str:
    """SQL, branches of a CASE: the text without control characters, at most 128 characters.

    Null for empty and for sentinel words. The plain text is the common case and must cost no rewriting.
    """
    control = r"'[\x00-\x1f\x7f]'"
    return (
        f"when {column} in ('', 'None', 'NULL') then null "
        f"when length({column}) > 128 or regexp_matches({column}, {control}) "
        f"then nullif(left(regexp_replace({column}, {control}, '', 'g'), 128), '') "
        f"else {column}"
    )


def short(column: str) -> str:
    """SQL: a word of the gateway's own, at most 128 characters; null for empty."""
    return f"case when length({column}) <= 128 then nullif({column}, '') else left({column}, 128) end"


def digest(column: str) -> str:
    """SQL: an id as its 128-bit MD5; null for empty. Enough to tell ids apart, and a client's own words stay out."""
    return f"cast(md5_number(nullif({column}, '')) as uuid)"


def tenant(column: str) -> str:
    """SQL: a tenant name; one that is an e-mail address is replaced by a stable digest, for it is personal data."""
    return f"case when contains({column}, '@') then 'sha256:' || left(sha256({column}), 16) {clean(column)} end"


def is_count(column: str) -> str:
    """SQL: whether the text is a whole number of tokens; null when the field is absent."""
    number = f"try_cast({column} as double)"
    return (
        f"case when {column} is not null then coalesce({number} between 0 and {MAX_TOKENS_PER_REQUEST} "
        f"and {number} = floor({number}), false) end"
    )


def count(column: str) -> str:
    """SQL: the text as a number of tokens; null when it is absent or no whole number."""
    return f"case when {is_count(column)} then cast(cast({column} as double) as bigint) end"


def instant(column: str) -> str:
    """SQL: an instant written as epoch seconds or milliseconds, or as ISO text; text without a zone is UTC."""
    number = f'try_cast("{column}" as double)'
    return (
        f"case when {number} between 1e9 and 1e10 then to_timestamp({number}) "
        f"when {number} between 1e12 and 1e13 then to_timestamp({number} / 1e3) "
        f'when {number} is null then try_cast("{column}" as timestamptz) end'
    )
