{#- Usage files have no threshold of their own in the ledger. Two days: a serving log that rotates daily is
    written again within one, and a weekend without traffic still writes scrapes. -#}
{% set usage_stale_after_hours = 48 %}

with run as (

    select * from {{ ref("stg_ledger__run") }}

),

price_sources as (

    select * from {{ ref("stg_prices__sources") }}
    where is_enabled

),

fetches as (

    select * from {{ ref("stg_prices__fetches") }}

),

rejects as (

    select * from {{ ref("stg_prices__rejects") }}

),

usage_routes as (

    select distinct
        source_name,
        kind
    from {{ ref("stg_ledger__usage_routes") }}

),

usage_files as (

    select * from {{ ref("stg_usage__files") }}

),

ranked_attempts as (

    select
        fetches.*,
        row_number() over (
            partition by fetches.source, fetches.dataset
            order by fetches.fetched_at desc, fetches.fetch_id desc
        ) as attempt_rank
    from fetches

),

last_loads as (

    select
        source,
        dataset,
        snapshot_id,
        record_count,
        rejected_count,
        row_number() over (partition by source, dataset order by fetched_at desc, fetch_id desc) as load_rank
    from fetches
    where outcome = 'loaded'

),

last_successes as (

    select
        source,
        dataset,
        max(fetched_at) as last_success_at
    from fetches
    where is_success
    group by source, dataset

),

rejects_by_reason as (

    select
        source,
        snapshot_id,
        reason || ' (' || cast(sum(rejected_count) as varchar) || ')' as reason
    from rejects
    group by source, snapshot_id, reason

),

reject_reasons as (

    select
        source,
        snapshot_id,
        {{ dbt.listagg("reason", "', '", "order by reason") }} as reasons
    from rejects_by_reason
    group by source, snapshot_id

),

datasets as (

    select
        attempts.source,
        attempts.dataset,
        attempts.fetched_at as last_attempt_at,
        attempts.outcome as last_outcome,
        last_successes.last_success_at,
        last_loads.record_count,
        last_loads.rejected_count,
        nullif(
            concat_ws(
                '; ',
                case
                    when attempts.outcome in ('refused', 'failed')
                        then
                            attempts.dataset || ' ' || attempts.outcome
                            || coalesce(': ' || attempts.message, ' without a reason')
                end,
                case
                    when last_successes.last_success_at is null then attempts.dataset || ' was never loaded'
                end,
                attempts.dataset || ' rejected ' || reject_reasons.reasons
            ),
            ''
        ) as message,
        max(attempts.fetched_at) over (partition by attempts.source) as source_last_attempt_at
    from ranked_attempts as attempts
    left join last_successes
        on
            attempts.source = last_successes.source
            and attempts.dataset = last_successes.dataset
    left join last_loads
        on
            attempts.source = last_loads.source
            and attempts.dataset = last_loads.dataset
            and last_loads.load_rank = 1
    left join reject_reasons
        on
            last_loads.source = reject_reasons.source
            and last_loads.snapshot_id = reject_reasons.snapshot_id
    where attempts.attempt_rank = 1

),

-- A dataset counts while it is asked for: a region that was taken out of the ledger is not attempted any
-- more and would otherwise keep its source stale for ever.
current_datasets as (

    select
        datasets.*,
        price_sources.stale_after_hours
    from datasets
    inner join price_sources on datasets.source = price_sources.source
    where
        datasets.last_attempt_at
        >= {{ plus_hours("datasets.source_last_attempt_at", "-price_sources.stale_after_hours") }}

),

price_status as (

    select
        price_sources.source,
        'price' as kind,
        price_sources.stale_after_hours,
        min(current_datasets.last_success_at) as last_success_at,
        count(current_datasets.dataset) > count(current_datasets.last_success_at) as has_missing_part,
        case
            when count(case when current_datasets.last_outcome = 'failed' then 1 end) > 0 then 'failed'
            when count(case when current_datasets.last_outcome = 'refused' then 1 end) > 0 then 'refused'
            when count(case when current_datasets.last_outcome = 'loaded' then 1 end) > 0 then 'loaded'
            when count(current_datasets.dataset) > 0 then 'unchanged'
        end as last_outcome,
        sum(current_datasets.record_count) as row_count,
        sum(current_datasets.rejected_count) as rejected_row_count,
        {{ dbt.listagg("current_datasets.message", "'; '", "order by current_datasets.dataset") }} as message
    from price_sources
    left join current_datasets on price_sources.source = current_datasets.source
    group by price_sources.source, price_sources.stale_after_hours

),

ranked_files as (

    select
        *,
        file_path || ' ' || status || ': ' || message as complaint,
        row_number() over (partition by source_name order by loaded_at desc, file_path desc) as file_rank
    from usage_files

),

usage_status as (

    select
        usage_routes.source_name,
        'usage' as kind,
        {{ usage_stale_after_hours }} as stale_after_hours,
        -- When the source last wrote, not when its files were read: a rebuilt warehouse must not look
        -- fresh.
        max(case when ranked_files.status <> 'refused' then ranked_files.modified_at end) as last_success_at,
        false as has_missing_part,
        max(case when ranked_files.file_rank = 1 then ranked_files.status end) as last_outcome,
        sum(ranked_files.record_count) as row_count,
        sum(ranked_files.rejected_count) as rejected_row_count,
        {{ dbt.listagg("ranked_files.complaint", "'; '", "order by ranked_files.file_path") }} as message
    from usage_routes
    left join ranked_files on usage_routes.source_name = ranked_files.source_name
    group by usage_routes.source_name

),

sources as (

    select * from price_status
    union all
    select * from usage_status

),

aged_sources as (

    select
        sources.*,
        {{ hours_between("sources.last_success_at", "run.started_at") }} as age_hours
    from sources
    cross join run

),

final as (

    select
        source,
        kind,
        last_success_at,
        age_hours,
        last_outcome,
        stale_after_hours,
        cast(row_count as bigint) as row_count,
        cast(rejected_row_count as bigint) as rejected_row_count,
        case
            when last_success_at is null then 'never'
            when has_missing_part or age_hours > stale_after_hours then 'stale'
            else 'fresh'
        end as status,
        coalesce(
            message,
            case when last_success_at is null then 'nothing was read from this source yet' end
        ) as message
    from aged_sources

)

select * from final
