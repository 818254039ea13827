-- The raw room: upstream records in the source's own words and units.
-- The only writers are orchestration/warehouse.py, price_versions.py, usage_archive.py and publication.py;
-- dbt/models/staging/*/_*__sources.yml describes each column for readers.
-- Every statement is idempotent: it runs each time the warehouse is opened for writing.

create schema if not exists raw;

-- One row per attempt to obtain one dataset of prices or exchange rates: live pull, bundled snapshot or replay.
create table if not exists raw.source_fetches (
    fetch_id varchar primary key,              -- <source>/<dataset>/<fetched_at, basic ISO>/<12 hex of the content>
    source varchar not null,                   -- registry name of the price source, override, or ecb (exchange rates)
    dataset varchar not null,                  -- the unit that is whole or refused: aws/ec2-us-east-1, oci/products
    fetched_at timestamptz not null,
    outcome varchar not null,                  -- loaded | unchanged | refused | failed
    snapshot_id varchar,                       -- the snapshot loaded, confirmed (unchanged) or refused; null when failed
    origin varchar not null,                   -- live | bundled | replay
    record_count bigint,
    rejected_count bigint,
    skipped_count bigint,                      -- records outside the question: other services, CPU sizes, Windows
    source_url varchar,
    landing_path varchar,                      -- relative to the data directory
    message varchar                            -- why refused or failed; null otherwise
);

-- One row per price snapshot in force. Loads are numbered per dataset from 1 in the order of loading and never renumbered:
-- a snapshot that is loaded again with other records (a replay of the same bytes by a better parser) gets the next number.
create table if not exists raw.price_loads (
    source varchar not null,
    dataset varchar not null,
    load_number bigint not null,
    snapshot_id varchar not null,
    fetched_at timestamptz not null,           -- of the snapshot
    source_url varchar,                        -- address of the snapshot
    loaded_at timestamptz not null
);

-- One row per version of a price a source publishes, for snapshots that passed the gate: a record and the loads that have
-- it, load_number between first_load_number and last_load_number. No primary key: DuckDB keeps such an index in memory.
create table if not exists raw.price_records (
    source varchar not null,
    dataset varchar not null,
    first_load_number bigint not null,
    last_load_number bigint,                   -- null while the newest load of the dataset has the record
    record_number bigint not null,             -- order in the snapshot that first had it, from 1
    content_id uuid not null,                  -- digest of all stated fields, and of which copy it is in a snapshot
    sku_id varchar not null,                   -- the source's stable key of what is sold
    offer_id varchar not null,                 -- rows of one offer share it: AWS recurring and upfront parts
    instance_type varchar,                     -- null where the source sells bare GPUs (OCI parts, RunPod types)
    region_raw varchar not null,               -- the source's own word; 'global' where it prices all regions alike
    zone_raw varchar,
    gpu_name_raw varchar,                      -- null where the instance type is the only hint
    gpu_count_raw decimal(18, 6),
    gpu_memory_gb_raw decimal(18, 6),
    pricing_model_raw varchar not null,        -- OnDemand, Reserved, Consumption, Spot, SavingsPlan, secure, community ...
    term_raw varchar,                          -- 1yr, 3yr, 1 Year, 3 Years
    offering_class_raw varchar,                -- AWS standard / convertible, a market's median
    payment_option_raw varchar,                -- No Upfront, Partial Upfront, All Upfront
    operating_system_raw varchar,
    tenancy_raw varchar,
    product_name_raw varchar,
    price_amount decimal(28, 12) not null,
    price_currency varchar not null,           -- ISO 4217, as the source states it
    price_unit_raw varchar not null,           -- Hrs, Quantity, 1 Hour, GPU Per Hour
    effective_at timestamptz,                  -- since when, by the source's own word
    is_available boolean,                      -- null when the source does not say
    source_url varchar,                        -- null: the address of the snapshot, in raw.price_loads
    provider_raw varchar                       -- whose price it is, where the source states prices of several providers
);

-- One row per snapshot and time that it was loaded again with other records. Landing does not tell: lost with the file.
create table if not exists raw.price_restatements (
    restated_at timestamptz not null,
    source varchar not null,
    dataset varchar not null,
    snapshot_id varchar not null,
    fetched_at timestamptz not null,           -- of the snapshot
    added_count bigint not null,               -- records that it did not have before
    removed_count bigint not null,             -- records that it no longer has
    why varchar not null
);

-- One row per currency and day of an exchange rate snapshot. The fetch itself is in raw.source_fetches.
create table if not exists raw.exchange_rates (
    snapshot_id varchar not null,
    fetched_at timestamptz not null,
    rate_date date not null,
    currency varchar not null,                 -- ISO 4217; the euro itself has no row
    units_per_eur decimal(28, 12) not null,    -- of the currency, for one euro
    primary key (snapshot_id, rate_date, currency)
);

-- What was read but could not be used, counted by reason. Never holds log values; price rows may quote the offending field.
create table if not exists raw.rejected_records (
    source varchar not null,
    batch_id varchar not null,                 -- snapshot_id or file_id
    reason varchar not null,
    field varchar,
    first_location varchar not null,           -- file and line, or page and item
    detail varchar,                            -- the offending value of a price field; always null for logs
    occurrences bigint not null,
    rejected_at timestamptz not null
);

-- One row per log or scrape file read. A file is known by the hash of its first record, not by its name (rotation renames).
create table if not exists raw.usage_files (
    file_id varchar primary key,
    file_number bigint,                        -- by which raw.requests knows it: quicker to write with each call than id and source
    source_name varchar not null,              -- name in ledger.yaml, usage section
    kind varchar not null,                     -- of the source in ledger.yaml, when the file was read
    file_path varchar not null,
    size_bytes bigint not null,
    modified_at timestamptz not null,
    first_usage_date date,
    last_usage_date date,
    record_count bigint not null,
    rejected_count bigint not null,
    status varchar not null,                   -- loaded | partial (a cut archive: records before the cut are kept) | refused
    message varchar,
    loaded_at timestamptz not null,
    passed_over_count bigint,                  -- records that are no call (another event, a span without tokens); null: not counted
    content_digest varchar                     -- SHA-256 of the bytes; null until the same size comes with another time
);
-- For warehouses made before the columns were.
alter table raw.usage_files add column if not exists passed_over_count bigint;
alter table raw.usage_files add column if not exists content_digest varchar;
alter table raw.usage_files add column if not exists file_number bigint;

-- Earlier names, of warehouses made when there was one engine and one gateway.
alter table if exists raw.vllm_samples rename to metric_samples;
alter table if exists raw.litellm_requests rename to requests;

-- One row per allow-listed series and scrape of an engine's or exporter's metrics.
create table if not exists raw.metric_samples (
    source_name varchar not null,
    file_id varchar not null,
    replica_key varchar not null,              -- directory of the scrape file, host:port of a scraped URL, or namespace/pod
    scraped_at timestamptz not null,
    usage_date date not null,                  -- UTC day of scraped_at
    metric_name varchar not null,              -- as exposed, e.g. vllm:prompt_tokens_total
    engine varchar,                            -- rank labels: data-parallel, and SGLang's shards; null before vLLM V1
    model_name varchar,                        -- null where the engine has no such label (TGI, llama.cpp)
    label_value varchar,                       -- finished_reason, mode, cache_source or the like; null where there is none
    value double not null,
    series_created_at timestamptz,             -- the series' own <base>_created, where exposed
    process_started_at timestamptz             -- process_start_time_seconds of the page, where exposed
);

-- One row per line of a request-level log (one call attempt, or one answer of several to a request). Allow-listed fields
-- only; no prompt, reply, key or address.
create table if not exists raw.requests (
    file_number bigint not null,               -- of raw.usage_files, which says the source
    request_id uuid not null,                  -- digest of the record's own id, or of the attempt's where there is none
    call_id uuid,                              -- digest of the attempt's id: a retry has a new one
    trace_id uuid,                             -- digest of what the attempts or answers of one request share
    status varchar,                            -- success | failure
    model varchar,                             -- hosted_vllm/acme/qwen3-32b
    model_group varchar,                       -- the public model name of the gateway
    model_id varchar,                          -- deployment id in the router: a replica hint
    tenant varchar,                            -- metadata.user_api_key_team_id
    started_at timestamptz not null,
    completed_at timestamptz,
    first_token_at timestamptz,
    usage_date date not null,                  -- UTC day of started_at
    prompt_tokens bigint,                      -- includes cached tokens
    completion_tokens bigint,
    cached_tokens bigint,                      -- usage_object.prompt_tokens_details.cached_tokens; null when not stated
    reasoning_tokens bigint,
    sub_index bigint,                          -- which of the n answers to a request, from 0; null: one row for all
    adapter varchar,                           -- LoRA
    replica_hint varchar,                      -- pod, host:port or process that served it
    cache_write_tokens bigint,                 -- part of the prompt
    token_basis varchar                        -- null: as reported; otherwise how it was inferred; gateway_cache: not served by an engine
);
-- For warehouses made before the columns were.
alter table raw.requests add column if not exists sub_index bigint;
alter table raw.requests add column if not exists adapter varchar;
alter table raw.requests add column if not exists replica_hint varchar;
alter table raw.requests add column if not exists cache_write_tokens bigint;
alter table raw.requests add column if not exists token_basis varchar;
-- No model read them, and reading a log took longer for them.
alter table raw.requests drop column if exists call_type;
alter table raw.requests drop column if exists is_stream;
alter table raw.requests drop column if exists total_tokens;
alter table raw.requests drop column if exists reported_cost_usd;
alter table raw.requests drop column if exists finish_reason;

-- One row per statistics line of an engine's log: rates over the seconds before it.
create table if not exists raw.engine_log_windows (
    source_name varchar not null,
    file_id varchar not null,
    line_number bigint not null,
    replica_key varchar not null,              -- namespace/pod, or folder and name of the log
    engine varchar,                            -- data-parallel rank; all: one line for all ranks; null before vLLM V1
    model_name varchar,                        -- where the log's own start-up lines say so
    engine_version varchar,
    logged_at timestamptz not null,
    usage_date date not null,                  -- UTC day of logged_at
    window_seconds double,                     -- what the rates are averages of: the log's interval, also after a pause
    prompt_tokens_per_second double,
    output_tokens_per_second double,
    running_requests bigint,
    waiting_requests bigint,
    kv_cache_usage_ratio double,
    prefix_cache_hit_ratio double,             -- over the last 1,000 requests, not the window
    prompt_basis varchar,                      -- computed: without cached tokens | all; null: the log does not say its version
    tensor_parallel_size bigint
);
-- For warehouses made before the columns were.
alter table raw.engine_log_windows add column if not exists prompt_basis varchar;
alter table raw.engine_log_windows add column if not exists tensor_parallel_size bigint;

-- One row per snapshot of a cluster that was read: a list of nodes or pods by kubectl, or a page of the DCGM exporter.
create table if not exists raw.inventory_snapshots (
    file_id varchar primary key,               -- digest of source, scope, instant and content
    source_name varchar not null,              -- name in ledger.yaml, inventory section
    kind varchar not null,                     -- kubernetes_nodes | kubernetes_pods | dcgm
    scope varchar not null,                    -- what the snapshot speaks of: empty for all of the source, else folder of the page
    observed_at timestamptz not null,          -- from the file name, else when the file was written
    observed_date date not null,               -- UTC day of observed_at
    file_path varchar not null,
    size_bytes bigint not null,
    modified_at timestamptz not null,
    fields_digest varchar not null,            -- of the fields that were read: a snapshot is read again for others
    record_count bigint not null,
    rejected_count bigint not null,
    skipped_count bigint not null,             -- pods that hold no GPU: ended, not placed, without a request
    status varchar not null,                   -- loaded | refused: half a list would end what stands in the other half
    message varchar,
    loaded_at timestamptz not null
);

-- One row per node and snapshot. Allow-listed labels only; no address, no annotation.
create table if not exists raw.inventory_nodes (
    source_name varchar not null,
    file_id varchar not null,
    scope varchar not null,
    observed_at timestamptz not null,
    node_name varchar not null,
    node_uid varchar not null,
    provider_id varchar,                       -- spec.providerID, e.g. aws:///us-east-1a/i-0abc
    created_at timestamptz,
    labels varchar not null,                   -- JSON object
    gpu_capacity varchar not null              -- JSON object, resource to count: {"nvidia.com/gpu":"8"}
);

-- One row per scheduled pod that may hold a GPU, and snapshot. Allow-listed labels only; no environment, no image, no address.
create table if not exists raw.inventory_pods (
    source_name varchar not null,
    file_id varchar not null,
    scope varchar not null,
    observed_at timestamptz not null,
    namespace varchar not null,
    pod_name varchar not null,
    pod_uid varchar not null,
    node_name varchar not null,
    created_at timestamptz,
    started_at timestamptz,
    owner_kind varchar,
    owner_name varchar,
    pod_ip_digest uuid,                        -- null for pods in the network of their host, which share its address
    labels varchar not null,                   -- JSON object
    gpu_requests varchar not null,             -- JSON object, resource to count; empty: none requested this way
    has_resource_claims boolean not null       -- devices by dynamic resource allocation: their number is not stated here
);

-- One row per GPU or MIG instance, the pod that holds it, and snapshot of its exporter.
create table if not exists raw.inventory_gpus (
    source_name varchar not null,
    file_id varchar not null,
    scope varchar not null,
    observed_at timestamptz not null,
    gpu_uuid varchar not null,
    gpu_instance varchar,                      -- GPU_I_ID; null for a whole GPU
    mig_profile varchar,                       -- GPU_I_PROFILE, e.g. 4g.40gb
    gpu_name_raw varchar,                      -- modelName
    namespace varchar,
    pod_name varchar,                          -- null: no pod holds it
    gpu_utilization_percent double,            -- time with any kernel running; these five null where the page says nothing
    sm_active_ratio double,                    -- 0 to 1
    tensor_active_ratio double,                -- 0 to 1
    power_watts double,
    energy_millijoules double                  -- since the driver was loaded
);
-- For warehouses made before the columns were.
alter table raw.inventory_gpus add column if not exists gpu_utilization_percent double;
alter table raw.inventory_gpus add column if not exists sm_active_ratio double;
alter table raw.inventory_gpus add column if not exists tensor_active_ratio double;
alter table raw.inventory_gpus add column if not exists power_watts double;
alter table raw.inventory_gpus add column if not exists energy_millijoules double;

-- One row per file of a bill that was read or refused.
create table if not exists raw.billing_files (
    source_name varchar not null,              -- name in ledger.yaml, billing section
    kind varchar not null,                     -- focus | aws_cur2
    file_path varchar not null,
    size_bytes bigint not null,
    modified_at timestamptz not null,
    content_digest varchar not null,           -- SHA-256 of the bytes: the same file under two names counts once
    format_version varchar,                    -- told by the columns: FOCUS 1.0, 1.1, 1.2; CUR 2.0
    periods date[] not null,                   -- first days of the billing months that it speaks of
    line_count bigint not null,
    rejected_count bigint not null,
    status varchar not null,                   -- loaded | superseded (a newer delivery of its months, or a copy) | refused
    message varchar,
    loaded_at timestamptz not null
);

-- One row per line of a bill, of the delivery in force. Allow-listed columns only: no account, name or e-mail.
-- A month is replaced whole. Amounts are the bill's, in its currency.
create table if not exists raw.billing_lines (
    source_name varchar not null,
    kind varchar not null,
    billing_period date not null,              -- first day of the month
    charge_type_raw varchar,                   -- ChargeCategory; line_item_line_item_type
    charge_class_raw varchar,                  -- Correction
    charge_frequency_raw varchar,              -- Usage-Based, Recurring, One-Time
    has_invoice boolean not null,              -- the line names its invoice (FOCUS 1.2, CUR)
    provider_raw varchar,
    region_raw varchar,
    resource_id varchar,
    charge_from_at timestamptz not null,
    charge_to_at timestamptz not null,         -- exclusive
    instance_type_raw varchar,
    usage_type_raw varchar,                    -- BoxUsage:p5.48xlarge, SpotUsage:..., UnusedBox:...
    description_raw varchar,
    pricing_category_raw varchar,              -- Standard, Dynamic, Committed, Other; OnDemand, Reserved, Spot
    commitment_id varchar,                     -- CommitmentDiscountId; ARN of plan or reservation
    commitment_category_raw varchar,           -- Spend, Usage; CUR: savings_plan, reservation
    commitment_status_raw varchar,             -- Used, Unused
    capacity_status_raw varchar,               -- CapacityReservationStatus: Used, Unused
    quantity decimal(28, 10),
    quantity_unit_raw varchar,
    currency varchar,
    billed_amount decimal(28, 10),             -- BilledCost; line_item_unblended_cost
    effective_amount decimal(28, 10),          -- EffectiveCost; CUR states it by kind of line, below
    list_amount decimal(28, 10),               -- ListCost; pricing_public_on_demand_cost
    contracted_amount decimal(28, 10),
    plan_effective_amount decimal(28, 10),     -- savings_plan_savings_plan_effective_cost
    plan_committed_amount decimal(28, 10),     -- savings_plan_total_commitment_to_date
    plan_used_amount decimal(28, 10),          -- savings_plan_used_commitment
    reservation_effective_amount decimal(28, 10),
    reservation_unused_amount decimal(28, 10), -- amortised upfront and recurring fee of what nothing used
    deployment_tag varchar                     -- value of the one tag that ledger.yaml names; null without
);
alter table raw.billing_lines add column if not exists deployment_tag varchar;

-- One row per source and month whose lines are in force.
create table if not exists raw.billing_periods (
    source_name varchar not null,
    billing_period date not null,
    format_version varchar not null,
    line_count bigint not null,
    billed_amount decimal(38, 10),
    effective_amount decimal(38, 10),
    delivery_digest varchar not null,          -- of the files that it was read from
    delivered_at timestamptz not null,         -- when the newest of its files was written
    loaded_at timestamptz not null
);

-- One row per month that was delivered again with other lines.
create table if not exists raw.billing_restatements (
    restated_at timestamptz not null,
    source_name varchar not null,
    billing_period date not null,
    line_count_before bigint not null,
    line_count_after bigint not null,
    billed_amount_before decimal(38, 10),
    billed_amount_after decimal(38, 10),
    effective_amount_before decimal(38, 10),
    effective_amount_after decimal(38, 10),
    why varchar not null
);

-- ledger.yaml, written whole at each run.
create table if not exists raw.ledger_deployments (
    allocation_id varchar primary key,         -- <deployment>#<position in ledger.yaml>
    deployment varchar not null,
    model varchar not null,
    provider varchar not null,
    region varchar not null,
    instance_type varchar not null,
    replicas integer not null,                 -- instances held by this entry
    gpus_per_replica decimal(18, 6),           -- null: all GPUs of the instance type
    pricing_model varchar not null,            -- on_demand | spot | reserved
    commitment_id varchar,
    rate_usd_per_gpu_hour decimal(18, 8),      -- contracted; null: list price
    valid_from_at timestamptz not null,
    valid_to_at timestamptz,                   -- exclusive; null: open
    instances_per_replica integer              -- of a replica that spans several; null: one
);
-- For warehouses made before the column was; the table is written whole at each run.
alter table raw.ledger_deployments add column if not exists instances_per_replica integer;

create table if not exists raw.ledger_latency_targets (
    deployment varchar primary key,
    ttft_ms decimal(18, 6),                    -- time to first token, milliseconds; null: any
    tpot_ms decimal(18, 6)                     -- time per output token after it, milliseconds; null: any
);

create table if not exists raw.ledger_commitments (
    commitment_id varchar primary key,
    provider varchar not null,
    region varchar,                            -- null: a savings plan for any region
    instance_type varchar,                     -- of a savings plan a type, a family, or null: any
    instance_count integer,                    -- null: a savings plan of usd_per_hour
    term_months integer,                       -- null: a capacity block
    payment_option varchar not null,           -- no_upfront | partial_upfront | all_upfront
    rate_usd_per_gpu_hour decimal(18, 8),      -- contracted recurring rate; null: list price of the term
    upfront_usd decimal(18, 2),                -- paid once for the whole commitment; null: by the list price of the term
    valid_from_at timestamptz not null,
    valid_to_at timestamptz not null,          -- valid_from_at + term, exclusive
    kind varchar,                              -- reservation | capacity_block | savings_plan | compute_savings_plan | ec2_instance_savings_plan
    usd_per_hour decimal(18, 8),               -- promise of a savings plan; null: instances are committed to
    applies_to varchar,                        -- matching (any on-demand instance of its type) | named (entries that name it)
    billed_as varchar                          -- its id in the bill; null: as commitment_id, or not told apart
);
-- For warehouses made before the columns were; the table is written whole at each run.
alter table raw.ledger_commitments add column if not exists kind varchar;
alter table raw.ledger_commitments add column if not exists usd_per_hour decimal(18, 8);
alter table raw.ledger_commitments add column if not exists applies_to varchar;
alter table raw.ledger_commitments add column if not exists billed_as varchar;
alter table raw.ledger_commitments alter column region drop not null;
alter table raw.ledger_commitments alter column instance_type drop not null;
alter table raw.ledger_commitments alter column instance_count drop not null;
alter table raw.ledger_commitments alter column term_months drop not null;

create table if not exists raw.ledger_usage_routes (
    source_name varchar not null,
    kind varchar not null,
    model_match varchar not null,              -- model or model group that goes to the deployment; '*' for all
    deployment varchar not null,
    role varchar,                              -- engine_counters | engine_requests | engine_log | gateway | client
    primary key (source_name, model_match)
);
-- For warehouses made before the column was; the table is written whole at each run.
alter table raw.ledger_usage_routes add column if not exists role varchar;

create table if not exists raw.ledger_billing_sources (
    source_name varchar primary key,
    kind varchar not null,                     -- focus | aws_cur2
    provider varchar                           -- null: as the lines say
);

create table if not exists raw.ledger_inventory_sources (
    source_name varchar primary key,
    kind varchar not null,
    cluster varchar not null,
    provider varchar,                          -- of nodes that do not say it themselves
    region varchar
);

-- One row per label of a selector of pods (fleet[].pods), one row without label where it has none: all have to fit.
create table if not exists raw.ledger_deployment_pods (
    selector_id varchar not null,              -- <deployment>#<position in ledger.yaml>
    deployment varchar not null,
    cluster varchar,                           -- null: any
    namespace_match varchar not null,          -- * stands for any characters
    name_match varchar not null,
    label_key varchar,
    label_value varchar
);

create table if not exists raw.ledger_model_names (
    raw_name varchar primary key,              -- as logs and metrics spell it
    model varchar not null,
    adapter varchar                            -- LoRA adapter that the name means; null: the model itself
);

create table if not exists raw.ledger_tenants (
    position integer not null,                 -- in ledger.yaml: of equal fits the first counts
    match_on varchar not null,                 -- tenant | model_group | namespace | deployment
    pattern varchar not null,                  -- * stands for any characters; an e-mail address as its digest
    tenant varchar not null,
    team varchar,
    cost_center varchar,
    primary key (match_on, pattern)
);

-- Which price sources the ledger asks for, so that a source never reached is still listed; and the exchange rates, where
-- one of them needs them.
create table if not exists raw.ledger_price_sources (
    source varchar primary key,
    is_enabled boolean not null,
    stale_after_hours integer not null
);

-- One row: what this run is about. Models read the window from here, so that no run-specific value is compiled into them.
create table if not exists raw.ledger_run (
    run_id varchar not null,
    started_at timestamptz not null,
    as_of_date date not null,                  -- last UTC day in the marts
    window_start_date date not null,           -- first UTC day whose usage is rebuilt by this run
    prices_settled_until_at timestamptz,       -- what is known of prices before this instant stands; null: nothing does
    close_after_days integer                   -- days after its last one on which a month is closed, by ledger.yaml
);
-- For warehouses made before the columns were.
alter table raw.ledger_run add column if not exists prices_settled_until_at timestamptz;
alter table raw.ledger_run add column if not exists close_after_days integer;

-- One row, or none: of which days the records of usage were pruned (orchestration/usage_archive.py). From data/archive/usage.
create table if not exists raw.usage_archive (
    first_usage_date date not null,
    archived_until date not null               -- exclusive, UTC: no run works out earlier days anew
);

-- One row: digest of the seeds, models and macros that built the published marts. Incremental tables hold what older SQL and
-- seeds made of the past; with other ones they are built anew, once.
create table if not exists raw.published_transform (
    digest varchar not null
);

-- What was published of each day's cost, copied from the published file at the start of each run: that file is the only
-- witness, a warehouse made anew cannot know it. A row is one statement about a day, in force until a later one.
create table if not exists raw.published_costs (
    usage_date date not null,
    scope varchar not null,                    -- deployment | unused_commitment
    name varchar not null,                     -- of the deployment or commitment
    pricing_category varchar not null,
    version_number integer not null,           -- 1: first statement about the day
    stated_at timestamptz not null,            -- start of the run that published it
    run_id varchar not null,
    is_withdrawn boolean not null,             -- true: no longer in the ledger
    provider varchar,
    gpu_hours decimal(18, 6),
    cost_usd decimal(38, 10),
    rate_basis varchar,
    total_tokens bigint
);

-- UTC days whose usage rows changed since the marts were last published; a run killed in between finds them here. The
-- first day of all usage where the routes of ledger.yaml changed; the day of a price snapshot that was restated, or loaded
-- after a later one.
create table if not exists raw.pending_usage_days (usage_date date not null);

-- Instants since which the price book has to be made anew, because something about prices of that time was loaded since
-- the marts were last published: a pull, a replay, an exchange rate. With the snapshot whose records are new or other ones.
create table if not exists raw.pending_price_changes (
    changed_at timestamptz not null,
    snapshot_id varchar
);

-- What orchestration/drift.py said of each day of a cost series, and what it hands to the next day. Replaced from the first
-- day of the run's window on; all of it where other SQL or seeds built the series.
create table if not exists raw.cost_drift_scores (
    series_kind varchar not null,
    series varchar not null,
    measure varchar not null,
    usage_date date not null,
    cost_usd decimal(38, 10) not null,         -- of the day, as it was judged
    volume decimal(28, 6) not null,            -- million tokens or requests
    coverage_ratio decimal(9, 8) not null,
    incomplete_reason varchar,
    state varchar not null,                    -- incomplete | no_tokens | low_traffic | learning | ok | drift
    method varchar,                            -- point | level_shift; null without drift
    is_alarm boolean not null,                 -- first day of which the drift is known
    since_date date,                           -- when the drift began
    pooled_from_date date,                     -- first day of what was judged; null when nothing was
    z_score double,                            -- log ratio to the expected value, in robust scales
    log_scale double,                          -- that scale
    p_value double,
    q_value double,
    restated_from_cost_usd decimal(38, 10),    -- what the day was when first judged, where late data changed it
    restated_from_volume decimal(28, 6),
    -- Carried to the next day; Carry of orchestration/drift.py says what each is.
    level_from_date date,
    pool_from_date date,
    cusum_up double not null,
    cusum_down double not null,
    up_from_date date,
    down_from_date date,
    shift_from_date date,
    shift_z double not null,
    recovery double not null,
    point_from_date date,
    alarm_p_value double,
    alarm_q_value double,
    primary key (series_kind, series, measure, usage_date)
);

-- The days that the expected value of a scored day is made of.
create table if not exists raw.cost_drift_references (
    series_kind varchar not null,
    series varchar not null,
    measure varchar not null,
    usage_date date not null,
    reference_date date not null
);

-- One row per incident of the alert ledger (data/alerts), mirrored here at each run; the ledger is the truth.
create table if not exists raw.alert_incidents (
    incident_id varchar not null,
    kind varchar not null,
    rule_id varchar not null,
    subject varchar not null,
    segment varchar,
    direction varchar,
    cause varchar,
    severity varchar not null,
    state varchar not null,
    parent_incident_id varchar,
    child_count bigint not null,
    finding_count bigint not null,
    impact_usd_per_day decimal(38, 10),
    exposed_usd_per_day decimal(38, 10),
    title varchar not null,
    text varchar not null,
    evidence_sql varchar,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    opened_at timestamptz not null,
    resolved_at timestamptz,
    reopened_count bigint not null,
    acknowledged_at timestamptz,
    acknowledged_by varchar,
    muted_until_at timestamptz,
    muted_by varchar,
    note varchar,
    told_at timestamptz,
    told_count bigint not null,
    delivered_at timestamptz,
    delivered_to varchar,
    delivery_problem varchar
);

-- What sizing/commitments.py made of the demand of each pool of GPUs (provider, region, GPU model), a row per way of buying.
-- Of the run's day; replaced whole by each run. Money is computed in dbt, from these hours and rates.
create table if not exists raw.capacity_plans (
    plan_date date not null,                   -- UTC day with which the demand ends
    provider varchar not null,
    region varchar not null,
    gpu_model varchar not null,
    purchase_option varchar not null,          -- on_demand | name of an offer | best_mix
    window_start_date date not null,           -- first day of the demand that is priced
    window_hours integer not null,             -- known hours of it
    window_gpu_hours decimal(18, 6),           -- needed in them; null when not known
    peak_gpus decimal(18, 6),                  -- most needed in one of them
    peak_instance_gpus integer,                -- the same in whole instances
    instance_type varchar,
    instance_gpus integer not null,            -- GPUs of one, committed together
    held_gpus integer not null,                -- of commitments already made
    on_demand_usd_per_gpu_hour decimal(18, 8),
    actual_cost_usd decimal(38, 10),           -- what the pool cost in the window
    backtest_weeks integer not null,
    backtest_regret_ratio double,
    break_even_decline_ratio double,           -- fall of prices a year from which on the shorter term is the cheaper one
    null_reason varchar,                       -- why there is no plan, or no regret
    primary key (plan_date, provider, region, gpu_model, purchase_option)
);

create table if not exists raw.capacity_plan_tiers (
    plan_date date not null,
    provider varchar not null,
    region varchar not null,
    gpu_model varchar not null,
    purchase_option varchar not null,
    tier_position integer not null,            -- 1 lies at the bottom of the demand
    tier_kind varchar not null,                -- held | committed | spot | on_demand
    tier varchar not null,                     -- name of the held commitment or offer; spot or on_demand
    gpus integer,                              -- committed; null on demand and on spot
    new_gpus integer not null,                 -- of them, to commit to now
    paid_gpu_hours decimal(18, 6) not null,
    used_gpu_hours decimal(18, 6) not null,
    usd_per_gpu_hour decimal(18, 8),           -- null: the held commitment has no known rate
    primary key (plan_date, provider, region, gpu_model, purchase_option, tier_position)
);

-- What a model does on each kind and number of GPUs, as sizing/ computed it for the last day of the run. Replaced whole.
create table if not exists raw.gpu_sizing (
    as_of_date date not null,
    model varchar not null,
    gpu_model varchar not null,
    tensor_parallel integer not null,          -- GPUs of one engine
    precision varchar not null,                -- of the weights
    engine varchar not null,                   -- vllm | sglang | trtllm
    workload varchar not null,
    input_tokens bigint not null,              -- of one request, cached ones included
    cached_input_tokens bigint not null,
    output_tokens bigint not null,
    ttft_target_ms decimal(18, 6),             -- null: any
    tpot_target_ms decimal(18, 6),
    fits boolean not null,
    weights_gib_per_gpu double,                -- null where the model cannot be cut so
    kv_pool_gib_per_gpu double,                -- negative where weights and buffers alone are too much
    max_concurrency double,                    -- requests of this size at once in one engine
    method varchar,                            -- measured | aiconfigurator | roofline; null without an estimate
    concurrency double,                        -- where to run it; this and what follows null with a reason
    tokens_per_second_per_gpu double,          -- output tokens
    input_tokens_per_second_per_gpu double,
    ttft_ms double,
    tpot_ms double,
    roofline_tpot_ms double,                   -- which no engine beats
    prefill_share_ratio double,                -- share of the engine's time that goes to prompts
    tpot_median_error_ratio double,            -- of the method, on points that were held out
    peak_tokens_per_second_per_gpu double,     -- whatever the latency
    reason varchar,                            -- does_not_fit | cannot_be_cut | target_not_met | not_estimated
    reason_text varchar
);
