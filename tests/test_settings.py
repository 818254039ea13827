"""ledger.yaml: what is accepted, and what each mistake says."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from orchestration.settings import ConfigError, duckdb_config, load_settings, read_ledger
from orchestration.warehouse import Warehouse
from scrapers.prices.registry import PRICE_SOURCES

GOOD = """\
prices:
  sources: {aws: {regions: [us-east-1]}, oci: }
fleet:
  - deployment: chat
    model: meta-llama/Llama-3.1-70B-Instruct
    provider: aws
    region: us-east-1
    instance_type: p5.48xlarge
    replicas: 2
    pricing: {model: reserved, commitment: p5-1y}
    from: 2026-09-01
    to: 2026-10-01T06:30+02:00
commitments:
  - {id: p5-1y, provider: aws, region: us-east-1, instance_type: p5.48xlarge, count: 2, term_months: 12,
     rate_usd_per_gpu_hour: 4.12345678, from: 2026-02-28T00:00Z}
usage:
  - {name: gateway, kind: litellm, path: "logs/*.jsonl", deployments: {llama: chat}}
"""
NAMED = """\
inventory:
  - {name: pods, kind: kubernetes_pods, path: "pods/*.json", cluster: prod}
models:
  - {name: llama, aliases: [llama-70b], adapters: {support-v3: support}}
tenants:
  - {tenant: support, cost_center: 4711, match: ["support-*", jane.doe@example.com], namespaces: [llm]}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "ledger.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(tmp_path: Path, old: str, new: str) -> list[str]:
    assert GOOD.count(old) >= 1, f"{old!r} is not in the good file"
    with pytest.raises(ConfigError) as caught:
        read_ledger(write(tmp_path, GOOD.replace(old, new, 1)))
    return caught.value.problems


def test_good_file_is_read_exactly(tmp_path: Path) -> None:
    ledger = read_ledger(write(tmp_path, GOOD))
    entry, commitment = ledger.fleet[0], ledger.commitments[0]
    assert entry.from_ == datetime(2026, 9, 1, tzinfo=UTC)
    assert entry.to == datetime(2026, 10, 1, 4, 30, tzinfo=UTC)
    # Through a float this would have been 4.123456780000000…
    assert commitment.rate_usd_per_gpu_hour == Decimal("4.12345678")
    assert commitment.to == datetime(2027, 2, 28, tzinfo=UTC)
    assert ledger.prices.sources["oci"].enabled


def test_a_commitment_is_a_reservation_unless_it_says_otherwise(tmp_path: Path) -> None:
    plan = GOOD.replace("{id: p5-1y,", "{id: p5-1y, kind: compute_savings_plan,")
    assert read_ledger(write(tmp_path, GOOD)).commitments[0].kind == "reservation"
    assert read_ledger(write(tmp_path, plan)).commitments[0].kind == "compute_savings_plan"


def test_term_from_29_february_ends_on_the_28th(tmp_path: Path) -> None:
    ledger = read_ledger(write(tmp_path, GOOD.replace("2026-02-28T00:00Z", "2028-02-29T00:00Z")))
    assert ledger.commitments[0].to == datetime(2029, 2, 28, tzinfo=UTC)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("replicas: 2", "replica: 2", "line 9, fleet[0].replica: unknown field (did you mean 'replicas'?)"),
        ("replicas: 2", "replicas: 2.5", "line 9, fleet[0].replicas: input should be a valid integer"),
        ("replicas: 2", "replicas: 0", "line 9, fleet[0].replicas: input should be greater than or equal to 1 (got 0)"),
        (
            "model: reserved",
            "model: on-demand",
            "fleet[0].pricing.model: input should be 'on_demand', 'spot' or 'reserved'",
        ),
        ("model: reserved", "model: spot", "line 10, fleet[0].pricing: a reserved entry names its commitment"),
        ("commitment: p5-1y", "commitment: p5-1yr", "no commitment 'p5-1yr' (did you mean 'p5-1y'?)"),
        ("from: 2026-09-01", "from: 2026-09-01T06:00", "line 11, fleet[0].from: has no time zone; add Z for UTC"),
        ("from: 2026-09-01", "from: yesterday", "write an instant in UTC, such as 2026-09-01T00:00Z"),
        ("to: 2026-10-01T06:30+02:00", "to: 2026-08-01", "fleet[0]: `to` must be later than `from`"),
        ("aws: {regions", "awz: {regions", "line 1, prices: unknown price source 'awz' (did you mean 'aws'?)"),
        ("oci: }", "oci: {base_url: 'http://example.com'}}", "plain http is allowed for this machine only"),
        ("4.12345678", "4.123456789", "commitments[0].rate_usd_per_gpu_hour"),
        ("4.12345678", ".nan", "commitments[0].rate_usd_per_gpu_hour"),
        (
            "{id: p5-1y,",
            "{id: p5-1y, kind: savings,",
            "commitments[0].kind: input should be 'reservation', 'capacity_block', 'savings_plan'",
        ),
        ("{id: p5-1y,", "{id: p5-1y, kind: savings_plan,", "commitments[0]: kind: aws sells compute_savings_plan and"),
        ("term_months: 12", "term_months: 24", "commitments[0].term_months: input should be 12 or 36"),
        ("{llama: chat}", "{llama: chad}", "line 17, usage[0]: no deployment 'chad' in fleet (did you mean 'chat'?)"),
        ("kind: litellm", "kind: lite_llm", "usage[0].kind"),
        (
            'path: "logs/*.jsonl"',
            'url: "http://10.0.0.1/metrics"',
            "only kinds metrics and prometheus are asked at a url",
        ),
        ("deployment: chat", 'deployment: "<b>chat</b>"', "fleet[0].deployment: use letters, digits"),
        ("from: 2026-09-01", "from: 20260901", "line 11, fleet[0].from: write an instant in UTC"),
        ("from: 2026-09-01", "from: 0001-01-01", "lies outside the years 2000 to 2100"),
        ("replicas: 2", "replicas: 1:30", "line 9, fleet[0].replicas: input should be a valid integer"),
        ("replicas: 2", "replicas: true", "line 9, fleet[0].replicas: input should be a valid integer"),
        ("{regions: [us-east-1]}", "false", "prices.sources.aws"),
        ('"logs/*.jsonl"', '"."', "names no file; write a pattern"),
        ('"logs/*.jsonl"', '"~/logs/*.jsonl"', "begins with ~"),
        ('"logs/*.jsonl"', '"s3://bucket/*.jsonl"', "is an address"),
        ('"logs/*.jsonl"', '"**x/*.jsonl"', "uses ** inside a name"),
        ("fleet:", "fleets:", "line 3, fleets: unknown field (did you mean 'fleet'?)"),
    ],
)
def test_a_mistake_names_line_field_and_remedy(tmp_path: Path, old: str, new: str, expected: str) -> None:
    found = problems(tmp_path, old, new)
    assert any(expected in problem for problem in found), found


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "kubernetes_pods",
            "kubernetes_pod",
            "no inventory source of kind 'kubernetes_pod' (did you mean 'kubernetes_",
        ),
        ('"pods/*.json"', '"pods/"', "line 19, inventory[0].path: path 'pods/' names no file"),
        ("cluster: prod", "clusters: prod", "inventory[0].clusters: unknown field (did you mean 'cluster'?)"),
        ("name: pods", "name: gateway", "inventory[0].name: 'gateway' is the name of a usage source"),
        ("aliases: [llama-70b]", "alias: [x]", "line 21, models[0].alias: unknown field (did you mean 'aliases'?)"),
        ("[llama-70b]", "[llama]", "line 21, models[0]: 'llama' is used twice"),
        ("cost_center", "costcenter", "tenants[0].costcenter: unknown field (did you mean 'cost_center'?)"),
        ("jane.doe@example.com", "'*@example.com'", "addresses are kept as digests, which no pattern fits"),
        ("[llm]", "[LLM]", "tenants[0].namespaces[0]: use lower-case letters"),
        ("replicas: 2", "replicas: 2\n    pods: chat-*", "fleet[0].pods: write namespace/name, such as llm/chat-*"),
        ("replicas: 2", "replicas: 2\n    pods: '*/*'", "fleet[0].pods: claims every pod"),
        (
            "replicas: 2",
            "replicas: 2\n    pods: {label: {app: x}}",
            "pods.label: unknown field (did you mean 'labels'?)",
        ),
        ("replicas: 2", "replicas: 2\n    pods: {labels: {'a b': x}}", "is no label of Kubernetes"),
        (
            "replicas: 2",
            "replicas: 2\n    pods: {cluster: prd, namespace: llm}",
            "fleet[0].pods.cluster: no cluster 'prd' in inventory (did you mean 'prod'?)",
        ),
    ],
)
def test_a_mistake_in_a_name_names_line_field_and_remedy(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD + NAMED
    with pytest.raises(ConfigError) as caught:
        read_ledger(write(tmp_path, (GOOD + NAMED).replace(old, new, 1)))
    assert any(expected in problem for problem in caught.value.problems), caught.value.problems


def test_two_tenants_cannot_have_one_pattern(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tenants\[1\]: tenant 'support-\*' is that of tenant 'support' already"):
        read_ledger(write(tmp_path, GOOD + NAMED + "  - {tenant: other, match: ['support-*']}\n"))


def test_a_deployment_has_one_owner_who_names_it_as_fleet_does(tmp_path: Path) -> None:
    more = "  - {tenant: one, deployments: [chat, chta]}\n  - {tenant: other, deployments: [chat]}\n"
    with pytest.raises(ConfigError) as caught:
        read_ledger(write(tmp_path, GOOD + NAMED + more))
    assert any("tenants[1]: no deployment 'chta' in fleet (did you mean 'chat'?)" in p for p in caught.value.problems)
    assert any("tenants[2]: deployment 'chat' is that of tenant 'one' already" in p for p in caught.value.problems)


def test_names_are_read_exactly(tmp_path: Path) -> None:
    """An address in ledger.yaml becomes the digest that the logs hold (sha256sum of jane.doe@example.com)."""
    short = GOOD.replace("replicas: 2", "replicas: 2\n    pods: llm/chat-*")
    ledger = read_ledger(write(tmp_path, short + NAMED))
    assert ledger.models[0].names() == {"llama": None, "llama-70b": None, "support-v3": "support"}
    assert ledger.tenants[0].patterns() == [
        ("tenant", "support"),
        ("tenant", "support-*"),
        ("tenant", "sha256:86e0b9e56c17cc4d"),
        ("namespace", "llm"),
    ]
    assert ledger.tenants[0].cost_center == "4711"
    selector = ledger.fleet[0].pods
    assert selector is not None
    assert (selector.namespace, selector.name, selector.labels) == ("llm", "chat-*", {})


def test_all_mistakes_are_listed_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("replicas: 2", "replica: 2").replace("term_months: 12", "term_months: 7")
    with pytest.raises(ConfigError) as caught:
        read_ledger(write(tmp_path, text))
    assert len(caught.value.problems) == 3  # unknown field, missing field, wrong term


def test_a_field_given_twice_is_refused(tmp_path: Path) -> None:
    assert "'replicas' is given twice" in problems(tmp_path, "replicas: 2", "replicas: 2\n    replicas: 3")[0]


def test_one_set_of_files_feeds_one_source(tmp_path: Path) -> None:
    extra = '  - {name: again, kind: litellm, path: "logs/*.jsonl", deployment: chat}\n'
    with pytest.raises(ConfigError, match=r"usage\[1\].path.*its tokens would count twice"):
        read_ledger(write(tmp_path, GOOD + extra))


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    assert problems(tmp_path, "replicas: 2", "replicas: [2")[0].startswith("line ")


def test_one_deployment_keeps_one_kind_of_hardware(tmp_path: Path) -> None:
    """Tokens of a deployment are shared over its entries by GPU-hours: that needs equal GPUs."""
    second = """\
  - {deployment: chat, model: meta-llama/Llama-3.1-70B-Instruct, provider: aws, region: us-east-1,
     instance_type: g6e.xlarge, replicas: 1, pricing: {model: on_demand}, from: 2026-09-01}
commitments:
"""
    found = problems(tmp_path, "commitments:\n", second)
    assert "fleet[1].instance_type" in found[0]
    assert "give other hardware or another model a deployment name of its own" in found[0]


def test_missing_and_empty_files_say_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="is empty"):
        read_ledger(write(tmp_path, ""))


def test_environment_gives_the_defaults_and_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, GOOD.replace("oci: }", "oci: {api_key_env: OCI_TEST_KEY}}"))
    monkeypatch.setenv("LEDGER_CONFIG", str(path))
    monkeypatch.setenv("LEDGER_DATA_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("OCI_TEST_KEY", "secret-value")
    settings = load_settings()
    assert settings.data_dir == tmp_path / "elsewhere"
    assert settings.source_options("oci").api_key == "secret-value"
    assert "secret-value" not in repr(settings.source_options("oci"))


def test_a_key_is_read_from_the_variable_of_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger's own name for it comes first; the line feed of a secret file is no part of the key."""
    monkeypatch.setattr(PRICE_SOURCES["oci"], "api_key_env", "OCI_API_KEY", raising=False)
    monkeypatch.setenv("OCI_API_KEY", "of the source\n")
    monkeypatch.setenv("OWN_KEY", "of the ledger")
    settings = load_settings(write(tmp_path, GOOD))
    assert settings.source_options("oci").api_key == "of the source"
    assert settings.source_options("aws").api_key is None
    settings = load_settings(write(tmp_path, GOOD.replace("oci: }", "oci: {api_key_env: OWN_KEY}}")))
    assert settings.source_options("oci").api_key == "of the ledger"


PROMETHEUS = """name: gateway, kind: prometheus, url: "https://prom.example/prometheus", deployments: {llama: chat}"""


def prometheus(tmp_path: Path, more: str) -> list[str]:
    """What a Prometheus entry says with `more` in it: the mistakes, none where it is good."""
    old = GOOD.splitlines()[-1]
    text = GOOD.replace(old, f"  - {{{PROMETHEUS}{more}}}")
    try:
        read_ledger(write(tmp_path, text))
    except ConfigError as error:
        return [problem.partition(": ")[2] for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "more",
    [
        "",
        """, match: '{namespace="llm"}'""",
        """, match: '{namespace=~"llm|chat-.*", pod!="a\\"b", }'""",
        ", token_env: PROM_TOKEN",
        ", user_env: PROM_USER, password_env: PROM_PASSWORD, headers_env: {X-Scope-OrgID: PROM_TENANT}",
        ", headers_env: {Authorization: PROM_AUTHORIZATION}, step_seconds: 15, look_back_days: 30, replica_label: pod",
    ],
)
def test_a_prometheus_server_can_be_asked_in_these_ways(tmp_path: Path, more: str) -> None:
    assert prometheus(tmp_path, more) == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (""", match: 'namespace="llm"'""", "write label matchers in braces"),
        (""", match: '{namespace="llm"} or up'""", "write label matchers in braces"),
        (""", match: '{__name__="up"}'""", "and no metric name"),
        (""", match: '{namespace="llm",__name__=~".+"}'""", "and no metric name"),
        (", token_env: A, user_env: B, password_env: C", "give one of token_env"),
        (", token_env: A, headers_env: {authorization: B}", "give one of token_env"),
        (", user_env: B", "user_env and password_env go together"),
        (", headers_env: {'X Scope': B}", "is no header name"),
        (", replica_label: 'pod-name'", "is no label name"),
        (", step_seconds: 0", "greater than or equal to 1"),
        (", look_back_days: 31", "less than or equal to 30"),
        (", look_back: 3", "unknown field (did you mean 'look_back_days'?)"),
        (", path: 'a.json'", "either a path or a url"),
    ],
)
def test_a_wrong_prometheus_entry_says_what_is_wrong(tmp_path: Path, more: str, message: str) -> None:
    (problem,) = prometheus(tmp_path, more)
    assert message in problem


@pytest.mark.parametrize(
    ("url", "more", "message"),
    [
        ("prom.example", "", "needs a url such as"),
        ("https://prom.example/?tenant=1", "", "needs a url such as"),
        ("https://u:CANARY@prom.example", "", "url holds a user or password"),
        ("https://prom.example/api/v1/", "", "the address before /api/v1"),
        ("http://prom.example", ", token_env: A", "over https only"),
        ("http://prom.example", ", user_env: A, password_env: B", "over https only"),
    ],
)
def test_a_wrong_prometheus_address_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, more: str, message: str
) -> None:
    monkeypatch.setitem(globals(), "PROMETHEUS", PROMETHEUS.replace("https://prom.example/prometheus", url))
    (problem,) = prometheus(tmp_path, more)
    assert message in problem
    assert "CANARY" not in problem


@pytest.mark.parametrize("entry", ["http://prom.example:9090", "http://127.0.0.1:9090"])
def test_a_prometheus_without_credentials_may_be_asked_over_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    monkeypatch.setitem(globals(), "PROMETHEUS", PROMETHEUS.replace("https://prom.example/prometheus", entry))
    assert prometheus(tmp_path, "") == []


def test_options_of_prometheus_are_refused_for_other_kinds(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "kind: litellm,", "kind: litellm, token_env: A,")
    assert "token_env: kind litellm does not know it; kinds that do: prometheus" in problem


def test_credentials_come_from_the_environment_and_what_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = GOOD.splitlines()[-1]
    more = ", user_env: PROM_USER, password_env: PROM_PASSWORD, headers_env: {X-Scope-OrgID: PROM_TENANT}"
    path = write(tmp_path, GOOD.replace(old, f"  - {{{PROMETHEUS}{more}}}"))
    settings = load_settings(path, tmp_path / "data")
    monkeypatch.setenv("PROM_USER", "Aladdin")
    monkeypatch.setenv("PROM_PASSWORD", "open sesame\n")
    monkeypatch.delenv("PROM_TENANT", raising=False)
    headers, missing = settings.usage_headers(settings.ledger.usage[0])
    assert missing == ["PROM_TENANT"]
    # RFC 7617, section 2
    assert headers["Authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


def test_what_duckdb_may_take_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LEDGER_MEMORY_LIMIT", "LEDGER_THREADS", "LEDGER_TEMP_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    assert duckdb_config() == {"memory_limit": "60%"}
    monkeypatch.setenv("LEDGER_MEMORY_LIMIT", "1.5GiB")
    monkeypatch.setenv("LEDGER_THREADS", "3")
    monkeypatch.setenv("LEDGER_TEMP_DIRECTORY", str(tmp_path / "it's here"))
    with Warehouse(tmp_path / "warehouse.duckdb").connect() as con:
        found = con.execute(
            "select current_setting('memory_limit'), current_setting('threads'), current_setting('temp_directory')"
        ).fetchall()
    assert found == [("1.5 GiB", 3, str(tmp_path / "it's here"))]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LEDGER_MEMORY_LIMIT", "much", "write a size such as 8GB, or a share such as 60%"),
        ("LEDGER_MEMORY_LIMIT", "0GB", "write a size"),
        ("LEDGER_MEMORY_LIMIT", "8GB'; drop schema raw", "write a size"),
        ("LEDGER_THREADS", "0", "write a number of threads, at least 1"),
    ],
)
def test_a_limit_that_is_none_is_told_before_the_run(
    name: str, value: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, GOOD)
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message) as raised:
        load_settings(path)
    assert str(raised.value).startswith("environment: 1 problem")


def test_retention_is_in_whole_days_and_its_kinds_are_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_ledger(write(tmp_path, GOOD + "retention: {run_logs_days: 0, price_answer_days: 3}\n"))
    assert [problem.partition(", ")[2].partition(" (got")[0] for problem in caught.value.problems] == [
        "retention.run_logs_days: input should be greater than or equal to 1",
        "retention.price_answer_days: unknown field (did you mean 'price_answers_days'?)",
    ]
