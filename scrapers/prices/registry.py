"""The price sources: each module in this directory but `base` and this one holds one, of the module's name."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module

import scrapers.prices
from scrapers.prices.base import PriceSource


def _found() -> Iterator[PriceSource]:
    for module in pkgutil.iter_modules(scrapers.prices.__path__, f"{scrapers.prices.__name__}."):
        if module.name not in (PriceSource.__module__, __name__):
            for value in vars(import_module(module.name)).values():
                if isinstance(value, type) and issubclass(value, PriceSource) and value.__module__ == module.name:
                    yield value()


PRICE_SOURCES: dict[str, PriceSource] = {source.name: source for source in _found()}
