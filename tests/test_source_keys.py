"""A price source whose API key is not set: skipped, said once, and nobody's failure."""

from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Self

import dagster as dg
import pytest
from rich.console import Console

from orchestration import cli
from orchestration.defs.prices.assets import landing_assets, landing_key
from orchestration.price_feeds import pull_live
from orchestration.settings import Settings, load_settings
from orchestration.warehouse import Warehouse, write_ledger
from scrapers.ec2 import has_credentials
from scrapers.landing import Landing
from scrapers.prices.base import KeyUse
from scrapers.prices.registry import PRICE_SOURCES
from tests.fault_server import FaultServer

NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)
WHY = "skipped: it needs an API key; set OCI_API_KEY"
Load = Callable[[str], Settings]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Settings of a ledger with these price sources, in an environment without any key or credentials."""
    for source in PRICE_SOURCES.values():
        monkeypatch.delenv(source.api_key_env or "", raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "absent"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    has_credentials.cache_clear()

    def write(sources: str) -> Settings:
        (tmp_path / "ledger.yaml").write_text(f"prices: {{sources: {{{sources}}}}}\n", encoding="utf-8")
        monkeypatch.setenv("LEDGER_CONFIG", str(tmp_path / "ledger.yaml"))
        monkeypatch.setenv("LEDGER_DATA_DIR", str(tmp_path / "data"))
        return load_settings()

    return write


@pytest.fixture
def needs_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """OCI as a source that needs a key."""
    monkeypatch.setattr(PRICE_SOURCES["oci"], "key", KeyUse.REQUIRED, raising=False)
    monkeypatch.setattr(PRICE_SOURCES["oci"], "api_key_env", "OCI_API_KEY", raising=False)


@pytest.mark.parametrize("name", sorted(PRICE_SOURCES))
def test_only_a_source_that_needs_a_key_is_skipped(name: str, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(f"{name}: ")
    if lacking := PRICE_SOURCES[name].unready():
        assert settings.skipped_price_sources() == {name: f"skipped: {lacking}"}
        assert pull_live(settings, name, now=NOW) == []
        return
    env = PRICE_SOURCES[name].api_key_env
    if PRICE_SOURCES[name].key is KeyUse.REQUIRED:
        assert settings.skipped_price_sources() == {name: f"skipped: it needs an API key; set {env}"}
        assert pull_live(settings, name, now=NOW) == []
        monkeypatch.setenv(str(env), "canary")
    assert settings.skipped_price_sources() == {}


def test_a_source_without_credentials_is_skipped(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load("aws_spot: , aws: ")
    why = "skipped: it needs AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    assert settings.skipped_price_sources() == {"aws_spot": why}
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTNOTREAL00000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a made up secret")
    has_credentials.cache_clear()
    assert settings.skipped_price_sources() == {}


def test_a_source_without_its_extra_is_skipped(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scrapers.ec2.find_spec", lambda _: None)
    why = "skipped: it needs boto3; install it, or this package with its extra aws"
    assert load("aws_spot: , aws: ").skipped_price_sources() == {"aws_spot": why}


@pytest.mark.usefixtures("needs_key")
def test_a_skipped_source_is_not_asked_and_fails_no_check(load: Load) -> None:
    with FaultServer() as server:
        settings = load(f"oci: {{base_url: '{server.url}'}}")
        landing = next(asset for asset in landing_assets if asset.key == landing_key("oci"))
        with dg.DagsterInstance.ephemeral() as instance:
            result = dg.materialize([landing], instance=instance)
        assert server.requests == []
    (check,) = result.get_asset_check_evaluations()
    assert (check.passed, check.description) == (True, WHY)
    (landed,) = result.asset_materializations_for_node("landing__oci_prices")
    assert landed.metadata["outcome"].value == WHY
    assert Landing(settings.landing_dir).entries("oci") == []


@pytest.mark.usefixtures("needs_key")
def test_with_the_key_it_is_asked_again(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer() as server:
        settings = load(f"oci: {{base_url: '{server.url}'}}")
        monkeypatch.setenv("OCI_API_KEY", "canary")
        (entry,) = pull_live(settings, "oci", now=NOW)
        assert len(server.requests) == 1
    assert "answered 404" in str(entry.message)


@pytest.mark.usefixtures("needs_key")
@pytest.mark.parametrize("key", ["", "  \n"])
def test_an_empty_variable_is_no_key(load: Load, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("OCI_API_KEY", key)
    assert load("oci: ").skipped_price_sources() == {"oci": WHY}


@pytest.mark.usefixtures("needs_key")
def test_the_ledger_may_name_another_variable_or_switch_the_source_off(load: Load) -> None:
    assert load("oci: {api_key_env: OWN_KEY}").skipped_price_sources() == {"oci": WHY.replace("OCI_API_KEY", "OWN_KEY")}
    assert load("oci: {enabled: false}").skipped_price_sources() == {}


@pytest.mark.usefixtures("needs_key")
def test_a_skipped_source_is_not_reported_as_stale(load: Load) -> None:
    """fct_source_freshness lists what is enabled."""
    settings = load("aws: , oci: ")
    with Warehouse(settings.warehouse_path).connect() as con:
        write_ledger(con, settings)
        found = con.execute("select source, is_enabled from raw.ledger_price_sources order by source").fetchall()
    assert found == [("aws", True), ("oci", False)]


@pytest.mark.usefixtures("needs_key")
def test_check_config_says_which_key_to_set(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    load("aws: , oci: ")
    printed = StringIO()
    monkeypatch.setattr(cli, "out", Console(file=printed))
    cli.check_config()
    assert printed.getvalue().count("API key") == 1
    assert f"note: price source oci is {WHY}\n" in printed.getvalue()


class _NothingPublished:
    """A published file in which every query finds nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def execute(self, *_: object) -> Self:
        return self

    def fetchone(self) -> None:
        return None

    def fetchall(self) -> list[tuple[object, ...]]:
        return []


@pytest.mark.usefixtures("needs_key")
def test_the_summary_says_it_in_one_line(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load("aws: , oci: ")
    printed = StringIO()
    monkeypatch.setattr(cli, "out", Console(file=printed))
    monkeypatch.setattr("orchestration.publication.open_published", lambda _: _NothingPublished())
    cli.print_summary(settings)
    assert printed.getvalue().count("skipped") == 1
    assert f"Price source oci {WHY}\n" in printed.getvalue()
