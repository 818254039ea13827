{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "hour_start_at", "window_of": "costs"},
) }}

with fleet_hours as (

    select * from {{ ref("int_fleet__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

price_intervals as (

    select * from {{ ref("int_gpu_price_intervals") }}

),

price_sources as (

    select * from {{ ref("stg_prices__sources") }}

),

-- On demand is always asked for: it is what the others are compared with.
demanded as (

    select
        provider,
        region,
        price_key,
        gpus_per_instance,
        'on_demand' as pricing_model,
        hour_start_at
    from fleet_hours

    union distinct

    select
        provider,
        region,
        price_key,
        gpus_per_instance,
        pricing_model,
        hour_start_at
    from fleet_hours
    where pricing_model = 'spot'

),

longest_patience as (

    select max(stale_after_hours) as stale_after_hours from price_sources

),

demanded_keys as (

    select distinct
        provider,
        price_key
    from demanded

),

-- One row per interval of a series, with the start of the next: until then it is the latest that is known.
successive as (

    select
        price_intervals.*,
        coalesce(price_sources.stale_after_hours, longest_patience.stale_after_hours) as stale_after_hours,
        lead(price_intervals.valid_from_at) over (
            partition by price_intervals.series_id order by price_intervals.valid_from_at
        ) as superseded_at
    from price_intervals
    inner join demanded_keys
        on
            price_intervals.provider = demanded_keys.provider
            and price_intervals.price_key = demanded_keys.price_key
    left join price_sources on price_intervals.source = price_sources.source
    cross join longest_patience
    where price_intervals.pricing_model in ('on_demand', 'spot')

),

-- Multiplies rows: several series fit one key (a region and 'global', RunPod's tiers, a market's
-- statistics, the zones of a region).
candidates as (

    select
        demanded.provider,
        demanded.region,
        demanded.price_key,
        demanded.pricing_model,
        demanded.hour_start_at,
        successive.series_id,
        successive.valid_from_at,
        successive.source_rank,
        successive.zone_name,
        case when successive.region = demanded.region then 0 else 1 end as region_rank,
        -- Of a market's statistics the median is what a renter can count on.
        case when successive.offer_tier in ('', 'secure', 'median') then 0 else 1 end as tier_rank,
        coalesce(
            successive.price_usd_per_gpu_hour,
            {{ usd_rate(
                "successive.price_usd_per_instance_hour",
                "coalesce(successive.gpu_count, demanded.gpus_per_instance)",
            ) }}
        ) as rate_usd_per_gpu_hour,
        cast(
            case
                when demanded.hour_start_at < successive.last_seen_at then 0
                else {{ seconds_between("successive.last_seen_at", "demanded.hour_start_at") }} / 3600
            end as decimal(18, 2)
        ) as price_age_hours,
        coalesce(demanded.hour_start_at >= successive.valid_to_at, false)
        or coalesce(
            {{ seconds_between("successive.last_seen_at", "demanded.hour_start_at") }}
            > 3600 * successive.stale_after_hours,
            false
        ) as is_price_carried_forward
    from demanded
    inner join successive
        on
            demanded.provider = successive.provider
            and demanded.price_key = successive.price_key
            and successive.region in (demanded.region, 'global')
            and demanded.pricing_model = successive.pricing_model
            and demanded.hour_start_at >= successive.valid_from_at
            and demanded.hour_start_at < coalesce(
                successive.superseded_at, {{ plus_hours("demanded.hour_start_at", 1) }}
            )
            -- What was agreed ends on its day; only listed prices are carried forward.
            and (
                successive.source_rank is distinct from 0
                or successive.valid_to_at is null
                or demanded.hour_start_at < successive.valid_to_at
            )

),

-- The ledger names a region, and its instances may stand in any of the zones. Their middle price is what to
-- expect: the cheapest would understate the cost, and the one that changed last is chance. Of an even number
-- the dearer of the two in the middle, so that the rate stays one that the provider asked in one zone. Zones
-- whose price is gone or stale are not counted beside zones whose price is in force.
zoned as (

    select
        *,
        case
            when zone_name is not null then
                row_number() over (
                    partition by
                        provider, region, price_key, pricing_model, hour_start_at, source_rank, region_rank,
                        tier_rank, is_price_carried_forward, zone_name is null
                    order by rate_usd_per_gpu_hour asc, series_id asc
                )
        end as zone_position,
        case
            when zone_name is not null then
                count(*) over (
                    partition by
                        provider, region, price_key, pricing_model, hour_start_at, source_rank, region_rank,
                        tier_rank, is_price_carried_forward, zone_name is null
                )
        end as zone_count
    from candidates
    where rate_usd_per_gpu_hour is not null

),

ranked as (

    select
        *,
        row_number() over (
            partition by provider, region, price_key, pricing_model, hour_start_at
            -- An override goes before the list, and a broker only stands in where the provider's own source
            -- has nothing: they are never mixed.
            order by
                source_rank asc,
                region_rank asc,
                tier_rank asc,
                case when is_price_carried_forward then 1 else 0 end asc,
                -- The middle of 5 is the 3rd, of 4 the 3rd as well.
                case when 2 * zone_position not in (zone_count + 1, zone_count + 2) then 1 else 0 end asc,
                valid_from_at desc,
                rate_usd_per_gpu_hour asc,
                series_id asc
        ) as price_rank
    from zoned

),

final as (

    select
        provider,
        region,
        price_key,
        pricing_model,
        hour_start_at,
        series_id as price_series_id,
        source_rank,
        rate_usd_per_gpu_hour,
        price_age_hours,
        is_price_carried_forward,
        zone_name,
        zone_count
    from ranked
    where price_rank = 1

)

select * from final
