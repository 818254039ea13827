{{ config(
    materialized="incremental",
    incremental_strategy="delete+insert",
    unique_key=["kind", "source", "dataset", "raw_value"],
    on_schema_change="fail",
) }}

-- Words that no seed knows. Their prices are kept, with a null where the meaning should stand; here each word
-- is listed until a seed row gives it one.

with offers as (

    select * from {{ ref("int_price_offers") }}

),

periods as (

    select * from {{ ref("int_price_snapshots") }}

),

unmapped_offers as (

    select
        'gpu_name' as kind,
        snapshot_id,
        series_id,
        gpu_name_raw as raw_value
    from offers
    where gpu_model is null and gpu_name_raw is not null

    union all

    select
        'instance_type' as kind,
        snapshot_id,
        series_id,
        coalesce(instance_type, sku_id) as raw_value
    from offers
    where gpu_model is null and gpu_name_raw is null

    union all

    -- A name such as "US East (N. Virginia)": codes have neither blanks nor commas.
    select
        'region' as kind,
        snapshot_id,
        series_id,
        region as raw_value
    from offers
    where region like '% %' or region like '%,%'

    union all

    select
        'purchase_words' as kind,
        snapshot_id,
        series_id,
        concat_ws(' ', pricing_model_raw, term_raw) as raw_value
    from offers
    where pricing_model is null

    union all

    select
        'price_unit' as kind,
        snapshot_id,
        series_id,
        price_unit_raw as raw_value
    from offers
    where price_null_reason = 'unknown_price_unit'

    union all

    -- The memory of eight GPUs read as that of one, or a GPU under the name of another.
    select
        'gpu_memory' as kind,
        snapshot_id,
        series_id,
        gpu_model || ': ' || {{ plain_number("gpu_memory_gb_raw") }} as raw_value
    from offers
    where has_other_gpu_memory

    union all

    select
        'provider' as kind,
        snapshot_id,
        series_id,
        provider_raw as raw_value
    from offers
    where not is_provider_known and source <> 'override'

),

words_per_period as (

    select
        unmapped_offers.kind,
        periods.source,
        periods.dataset,
        unmapped_offers.raw_value,
        periods.seen_from_at,
        periods.seen_until_at,
        periods.next_seen_from_at is null as is_latest,
        count(distinct unmapped_offers.series_id) as series_count
    from unmapped_offers
    inner join periods on unmapped_offers.snapshot_id = periods.snapshot_id
    group by
        unmapped_offers.kind,
        periods.source,
        periods.dataset,
        unmapped_offers.raw_value,
        periods.seen_from_at,
        periods.seen_until_at,
        periods.next_seen_from_at

),

words as (

    select
        kind,
        source,
        dataset,
        raw_value,
        max(series_count) as series_count,
        min(seen_from_at) as first_seen_at,
        max(seen_until_at) as last_seen_at,
        max(case when is_latest then 1 else 0 end) = 1 as is_open
    from words_per_period
    group by kind, source, dataset, raw_value
    {% if is_incremental() -%}
        union all
        select
            kind,
            source,
            dataset,
            raw_value,
            series_count,
            first_seen_at,
            last_seen_at,
            false as is_open
        from {{ this }}
        where is_open or last_seen_at >= (select min(periods.seen_from_at) from periods)
    {%- endif %}

),

final as (

    select
        kind,
        source,
        dataset,
        raw_value,
        max(series_count) as series_count,
        min(first_seen_at) as first_seen_at,
        max(last_seen_at) as last_seen_at,
        max(case when is_open then 1 else 0 end) = 1 as is_open
    from words
    group by kind, source, dataset, raw_value

)

select * from final
