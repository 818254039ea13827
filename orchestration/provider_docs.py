"""docs/providers: a page per price source from its module's docstring, and the coverage table from registry and seeds.

`make docs` (`python -m orchestration.provider_docs`) writes them; a test fails while they differ.
"""

import inspect
import sys

from orchestration.seeds import ANY_CURRENCY, seed_rows
from orchestration.settings import PROJECT_ROOT
from scrapers.prices.base import KeyUse, PriceSource
from scrapers.prices.registry import PRICE_SOURCES

FOLDER = PROJECT_ROOT / "docs" / "providers"
_TEXT_FROM = 11  # "Endpoint   GET https://...": where the text of a section begins in each of its lines
_SHOWN_REGIONS = 6


def documents() -> dict[str, str]:
    """Returns the text of each generated file by its path below the project folder."""
    pages = {f"docs/providers/{name}.md": page(source) for name, source in PRICE_SOURCES.items()}
    index, readme = "docs/providers/README.md", "README.md"
    pages[index] = _between_markers((PROJECT_ROOT / index).read_text(encoding="utf-8"), "coverage", f"\n{coverage()}\n")
    count = str(len(PRICE_SOURCES))
    text = _between_markers((PROJECT_ROOT / readme).read_text(encoding="utf-8"), "source-count", count)
    pages[readme] = _between_markers(text, "ways-of-buying", f"\n{ways_of_buying()}\n")
    return pages


def page(source: PriceSource) -> str:
    """Returns the page of one source."""
    title, *sections = _sections(inspect.getdoc(sys.modules[type(source).__module__]) or "")
    module = type(source).__module__.replace(".", "/")
    facts = [f"| {name} | {value} |" for name, value in _facts(source, every_region=True).items()]
    paragraphs = [f"**{heading}:** {text}" if heading else text for heading, text in sections]
    lines = [
        f"# {source.title}",
        f"<!-- Written from {module}.py by `make docs`; edit the docstring. -->",
        title[1],
        "\n".join(["| | |", "|---|---|", *facts, f"| documentation | <{source.docs}> |"]),
        *paragraphs,
    ]
    return "\n\n".join(lines) + "\n"


def coverage() -> str:
    """Returns the table of all sources."""
    rows = [{"source": f"[{name}]({name}.md)", **_facts(PRICE_SOURCES[name])} for name in sorted(PRICE_SOURCES)]
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return "\n".join([*lines, *("| " + " | ".join(row.values()) + " |" for row in rows)])


def ways_of_buying() -> str:
    """Returns the short table of the README: which sources state prices of which purchase option."""
    rows = ["| purchase option | sources without a key | with a key |", "|---|---|---|"]
    terms = {(row["source"], row["pricing_model"]) for row in seed_rows("pricing_terms")}
    for option in sorted({option for source, option in terms if source in PRICE_SOURCES}):
        sources = [source for name, source in sorted(PRICE_SOURCES.items()) if (name, option) in terms]
        cells = [
            ", ".join(
                f"[{source.name}](docs/providers/{source.name}.md)"
                for source in sources
                if (source.key is KeyUse.REQUIRED or _needs_credentials(source)) is needs_key
            )
            for needs_key in (False, True)
        ]
        rows.append(f"| {option.replace('_', ' ')} | {cells[0]} | {cells[1]} |")
    return "\n".join(rows)


def _needs_credentials(source: PriceSource) -> bool:
    """Whether it is asked through a provider's own client, which finds its credentials by itself (AWS)."""
    return type(source).unready is not PriceSource.unready


def _facts(source: PriceSource, *, every_region: bool = False) -> dict[str, str]:
    seed = next((row for row in seed_rows("price_sources") if row["source"] == source.name), {})
    models = {row["pricing_model"] for row in seed_rows("pricing_terms") if row["source"] == source.name}
    key = {
        KeyUse.NONE: "none",
        KeyUse.OPTIONAL: "optional",
        KeyUse.REQUIRED: f"`{source.api_key_env}`",
    }[source.key]
    regions = source.default_regions if every_region else source.default_regions[:_SHOWN_REGIONS]
    more = len(source.default_regions) - len(regions)
    currency = seed.get("declared_currency", "")
    return {
        "provider": "several (broker)" if seed.get("is_broker") == "true" else seed.get("provider", source.name),
        "API key": "credentials, see its page" if _needs_credentials(source) else key,
        "regions": ", ".join(regions) + f" and {more} more" * (more > 0) if regions else "one list for all",
        "purchase options": ", ".join(sorted(models)),
        "currency": "as stated" if currency == ANY_CURRENCY else currency,
    }


def _sections(docstring: str) -> list[tuple[str, str]]:
    """Returns heading and text of each section; the first has no heading and says what the source is."""
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in docstring.splitlines():
        heading, text = line[:_TEXT_FROM], line[_TEXT_FROM:]
        if heading[:1].isupper() and heading.endswith("  ") and text:
            found.append((heading.strip(), [text]))
        else:
            found[-1][1].append(line.strip())
    return [(heading, _markdown(" ".join(filter(None, lines)))) for heading, lines in found]


def _markdown(text: str) -> str:
    """Outside of code, `<zone>` would be taken for a tag."""
    parts = text.split("`")
    return "`".join(part if number % 2 else part.replace("<", "&lt;") for number, part in enumerate(parts))


def _between_markers(text: str, name: str, content: str) -> str:
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the markers {start} and {end} are gone")
    return before + start + content + end + after


def write() -> None:
    """Writes every generated file."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in documents().items():
        (PROJECT_ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
