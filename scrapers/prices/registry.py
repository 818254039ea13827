"""The one list of price sources. A module in this directory that is not listed here fails the tests."""

from scrapers.prices.aws import Aws
from scrapers.prices.azure import Azure
from scrapers.prices.base import PriceSource
from scrapers.prices.oci import Oci
from scrapers.prices.runpod import Runpod

PRICE_SOURCES: dict[str, PriceSource] = {source.name: source for source in (Aws(), Azure(), Oci(), Runpod())}
