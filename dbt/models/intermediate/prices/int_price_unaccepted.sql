{{ config(
    materialized="incremental",
    incremental_strategy="delete+insert",
    unique_key="series_id",
    on_schema_change="fail",
) }}

-- The last sighting of each series whose price is held back or unreadable; the price book lists those that
-- never had one rather than leaving them out.

with observations as (

    select * from {{ ref("int_price_observations") }}

),

offers as (

    select * from {{ ref("int_price_offers") }}

),

ranked_observations as (

    select
        series_id,
        snapshot_id,
        quarantine_rule_id,
        next_seen_from_at,
        min(seen_from_at) over (partition by series_id) as first_seen_at,
        max(seen_until_at) over (partition by series_id) as last_seen_at,
        accepted_from_at,
        row_number() over (partition by series_id order by period_number desc) as recency
    from observations

),

final as (

    select
        offers.series_id,
        offers.source,
        offers.dataset,
        offers.provider,
        offers.sku_id,
        offers.price_key,
        offers.instance_type,
        offers.region,
        offers.gpu_model,
        offers.gpu_variant,
        offers.gpu_memory_gb,
        offers.gpu_memory_gb_raw,
        offers.gpu_count,
        offers.pricing_category,
        offers.pricing_model,
        offers.offer_tier,
        offers.term_months,
        offers.payment_option,
        offers.price_amount,
        offers.price_currency,
        offers.fx_rate_usd,
        offers.fx_rate_date,
        offers.price_unit_raw,
        offers.price_basis,
        ranked_observations.quarantine_rule_id as price_null_reason,
        ranked_observations.next_seen_from_at as valid_to_at,
        least(
            ranked_observations.first_seen_at,
            {% if is_incremental() %}coalesce(known.first_seen_at, ranked_observations.first_seen_at)
            {%- else %}ranked_observations.first_seen_at
            {%- endif %}
        ) as first_seen_at,
        ranked_observations.last_seen_at,
        offers.fetched_at,
        offers.snapshot_id,
        offers.source_url
    from ranked_observations
    inner join offers
        on
            ranked_observations.snapshot_id = offers.snapshot_id
            and ranked_observations.series_id = offers.series_id
    {% if is_incremental() -%}
        left join {{ this }} as known on ranked_observations.series_id = known.series_id
    {%- endif %}
    where ranked_observations.recency = 1 and ranked_observations.accepted_from_at is null

)

select * from final
