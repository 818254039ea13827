{{ config(
    materialized="incremental",
    incremental_strategy="replace_unsettled",
    on_schema_change="fail",
    meta={"begins_column": "first_seen_at", "key": ["occurrence_id"]},
) }}

-- What each finding of a series belongs to: all of its dataset, a region, a GPU model or a machine type.

with periods as (

    select * from {{ ref("int_price_snapshots") }}

),

offers as (

    select * from {{ ref("int_price_offers") }}

),

series_findings as (

    select * from {{ ref("int_price_series_findings") }}

),

run as (

    select run_id from {{ ref("stg_ledger__run") }}

),

described_series as (

    select
        series_findings.*,
        offers.price_key,
        offers.instance_type,
        offers.region,
        offers.gpu_model,
        offers.pricing_model,
        offers.term_months,
        offers.payment_option,
        offers.provider,
        concat_ws(' ', coalesce(offers.pricing_model, offers.pricing_model_raw), offers.term_raw)
            as option_name,
        {{ ratio("series_findings.observed", "series_findings.expected") }} as ratio,
        -- What a reader calls the offer: p5.48xlarge us-east-1 reserved 36 months no_upfront.
        coalesce(
            concat_ws(
                ' ',
                offers.price_key,
                offers.region,
                coalesce(offers.pricing_model, offers.pricing_model_raw),
                nullif(offers.offer_tier, ''),
                cast(offers.term_months as varchar) || ' months',
                offers.payment_option
            ),
            series_findings.dataset
        ) as subject,
        case
            when series_findings.layer in ('L1', 'L2', 'L3') and series_findings.severity = 'error'
                then 'wrong price'
            when series_findings.layer = 'L0'
                then series_findings.rule_id || ' ' || coalesce(series_findings.evidence, '')
            else series_findings.rule_id
        end as rule_group
    from series_findings
    left join offers
        on
            series_findings.snapshot_id = offers.snapshot_id
            and series_findings.series_id = offers.series_id
    {% if is_incremental() -%}
        where series_findings.first_seen_at >= {{ prices_settled_until_at() }}
    {%- endif %}

),

-- How much of a load breaks rules together decides what the finding is about: at least 60 % of the offers
-- bought in one way, and of at least five (three of one GPU in one region).
option_totals as (

    select
        periods.period_id,
        coalesce(offers.region, '') as region,
        coalesce(offers.gpu_model, '') as gpu_model,
        concat_ws(' ', coalesce(offers.pricing_model, offers.pricing_model_raw), offers.term_raw)
            as option_name,
        count(*) as series_count
    from periods
    inner join offers on periods.snapshot_id = offers.snapshot_id
    where periods.period_id in (select described_series.period_id from described_series)
    group by
        periods.period_id,
        coalesce(offers.region, ''),
        coalesce(offers.gpu_model, ''),
        concat_ws(' ', coalesce(offers.pricing_model, offers.pricing_model_raw), offers.term_raw)

),

broken_options as (

    select
        period_id,
        rule_group,
        coalesce(region, '') as region,
        coalesce(gpu_model, '') as gpu_model,
        option_name,
        count(distinct series_id) as broken_count
    from described_series
    group by period_id, rule_group, coalesce(region, ''), coalesce(gpu_model, ''), option_name

),

rule_groups as (

    select distinct
        period_id,
        rule_group
    from broken_options

),

counted_options as (

    select
        option_totals.period_id,
        option_totals.region,
        option_totals.gpu_model,
        option_totals.option_name,
        option_totals.series_count,
        rule_groups.rule_group,
        coalesce(broken_options.broken_count, 0) as broken_count
    from option_totals
    -- One row per group of rules that the load breaks.
    inner join rule_groups on option_totals.period_id = rule_groups.period_id
    left join broken_options
        on
            option_totals.period_id = broken_options.period_id
            and rule_groups.rule_group = broken_options.rule_group
            and option_totals.region = broken_options.region
            and option_totals.gpu_model = broken_options.gpu_model
            and option_totals.option_name = broken_options.option_name

),

summed_options as (

    select
        *,
        sum(broken_count) over (partition by period_id, rule_group, option_name) as dataset_broken_count,
        sum(series_count) over (partition by period_id, rule_group, option_name) as dataset_count,
        sum(broken_count) over (partition by period_id, rule_group, option_name, region)
            as region_broken_count,
        sum(series_count) over (partition by period_id, rule_group, option_name, region) as region_count,
        sum(broken_count) over (partition by period_id, rule_group, option_name, gpu_model)
            as gpu_model_broken_count,
        sum(series_count) over (partition by period_id, rule_group, option_name, gpu_model)
            as gpu_model_count
    from counted_options

),

-- One way of buying that is wrong as a whole decides for the others beside it.
scopes as (

    select distinct
        period_id,
        rule_group,
        region,
        gpu_model,
        max(case when dataset_broken_count >= 0.6 * dataset_count and dataset_count >= 5 then 1 else 0 end)
            over (partition by period_id, rule_group)
        = 1 as is_whole_dataset,
        max(case when region_broken_count >= 0.6 * region_count and region_count >= 5 then 1 else 0 end)
            over (partition by period_id, rule_group, region)
        = 1 as is_whole_region,
        max(
            case
                when gpu_model_broken_count >= 0.6 * gpu_model_count and gpu_model_count >= 5 then 1
                else 0
            end
        ) over (partition by period_id, rule_group, gpu_model)
        = 1 as is_whole_gpu_model,
        max(case when broken_count >= 0.6 * series_count and series_count >= 3 then 1 else 0 end)
            over (partition by period_id, rule_group, region, gpu_model)
        = 1 as is_whole_gpu_model_of_region
    from summed_options

),

scoped_series as (

    select
        described_series.source,
        described_series.dataset,
        described_series.series_id,
        described_series.rule_id,
        described_series.layer,
        described_series.severity,
        described_series.observed,
        described_series.expected,
        described_series.evidence,
        described_series.slip_ratio,
        described_series.period_id,
        described_series.snapshot_id,
        described_series.first_seen_at,
        described_series.last_seen_at,
        described_series.is_open,
        described_series.price_key,
        described_series.instance_type,
        described_series.region,
        described_series.gpu_model,
        described_series.pricing_model,
        described_series.term_months,
        described_series.payment_option,
        described_series.provider,
        described_series.ratio,
        described_series.subject,
        described_series.rule_group,
        case
            when scopes.is_whole_dataset then 'dataset'
            when scopes.is_whole_region then 'region ' || described_series.region
            when scopes.is_whole_gpu_model and described_series.gpu_model is not null
                then 'GPU ' || described_series.gpu_model
            -- All machines with a GPU, though only in some regions: those regions are one finding.
            when scopes.is_whole_gpu_model_of_region and described_series.gpu_model is not null
                then 'regional GPU ' || described_series.gpu_model
            else 'machine ' || coalesce(described_series.price_key, '')
        end as scope,
        md5(
            concat_ws(
                '|',
                described_series.source,
                described_series.dataset,
                described_series.series_id,
                described_series.rule_id,
                described_series.period_id,
                coalesce(cast(described_series.observed as varchar), ''),
                coalesce(cast(described_series.expected as varchar), ''),
                coalesce(described_series.evidence, '')
            )
        ) as occurrence_id,
        run.run_id as written_by_run_id
    from described_series
    cross join run
    left join scopes
        on
            described_series.period_id = scopes.period_id
            and described_series.rule_group = scopes.rule_group
            and coalesce(described_series.region, '') = scopes.region
            and coalesce(described_series.gpu_model, '') = scopes.gpu_model

),

{% if is_incremental() -%}

-- What began before, as far as it may go on or has just ended.
standing as (

    select * from {{ this }}
    where
        first_seen_at < {{ prices_settled_until_at() }}
        and (
            is_open
            or last_seen_at >= {{ plus_hours(prices_settled_until_at(), -24 * price_look_back_days()) }}
        )

),

-- Of a finding that began before the snapshots looked at, these show the rest.
continuations as (

    select
        standing.occurrence_id,
        max(series_findings.last_seen_at) as last_seen_at,
        max(case when series_findings.is_open then 1 else 0 end) = 1 as is_open
    from standing
    inner join series_findings
        on
            standing.source = series_findings.source
            and standing.dataset = series_findings.dataset
            and standing.series_id = series_findings.series_id
            and standing.rule_id = series_findings.rule_id
            and (standing.layer = 'L2' or {{ same("standing.observed", "series_findings.observed") }})
            and (standing.layer = 'L2' or {{ same("standing.expected", "series_findings.expected") }})
            and (standing.layer = 'L1' or {{ same("standing.evidence", "series_findings.evidence") }})
            and standing.first_seen_at <= series_findings.last_seen_at
            and standing.last_seen_at >= series_findings.first_seen_at
    where series_findings.first_seen_at < {{ prices_settled_until_at() }}
    group by standing.occurrence_id

),

continued as (

    select
        standing.occurrence_id,
        run.run_id as written_by_run_id,
        greatest(standing.last_seen_at, coalesce(continuations.last_seen_at, standing.last_seen_at))
            as last_seen_at,
        coalesce(continuations.is_open, false) as is_open
    from standing
    cross join run
    left join continuations on standing.occurrence_id = continuations.occurrence_id

),

{% set columns = adapter.get_columns_in_relation(this) | map(attribute="name") | list -%}
{%- endif %}

final as (

    {% if is_incremental() -%}
        select
            {% for column in columns -%}
                {%- set is_other = column in ("last_seen_at", "is_open", "written_by_run_id") -%}
                {{ "continued" if is_other else "standing" }}.{{ column }}{{ "," if not loop.last }}
            {% endfor %}
        from standing
        inner join continued on standing.occurrence_id = continued.occurrence_id
        union all
        select
            {% for column in columns -%}
                {{ column }}{{ "," if not loop.last }}
            {% endfor %}
        from scoped_series
    {%- else -%}
        select * from scoped_series
    {%- endif %}

)

select * from final
