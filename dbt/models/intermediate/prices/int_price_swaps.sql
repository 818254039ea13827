-- Two regions of a dataset that show each other's prices of the period before.

with steps as (

    select
        period_id,
        region,
        offer_key,
        cast(price_usd_per_instance_hour as double) as price_usd,
        cast(previous_price_usd_per_instance_hour as double) as previous_price_usd,
        cast(price_before_usd_per_instance_hour as double) as price_before_usd
    from {{ ref("int_price_steps") }}
    where previous_price_usd_per_instance_hour is not null

),

rules as (

    select cast(threshold as double) as swapped_share from {{ ref("price_rules") }}
    where rule_id = 'regions_swapped'

),

moved_regions as (

    select
        period_id,
        region
    from steps
    where abs(price_usd / previous_price_usd - 1) > 0.001
    group by period_id, region
    having count(*) >= 3

),

moved_region_steps as (

    select steps.* from steps
    inner join moved_regions
        on
            steps.period_id = moved_regions.period_id
            and steps.region = moved_regions.region

),

-- Pairs of regions with the offers that moved in either: where regions cost the same by nature, the offers
-- that stood still say nothing.
pairs as (

    select
        one.period_id,
        one.region as one_region,
        other.region as other_region,
        count(*) as series_count,
        count(
            case
                when
                    abs(one.price_usd / other.previous_price_usd - 1) <= 0.001
                    and abs(other.price_usd / one.previous_price_usd - 1) <= 0.001
                    then 1
            end
        ) as swapped_series_count,
        count(
            case
                when
                    abs(one.price_usd / one.price_before_usd - 1) <= 0.001
                    and abs(other.price_usd / other.price_before_usd - 1) <= 0.001
                    then 1
            end
        ) as returned_series_count
    from moved_region_steps as one
    inner join moved_region_steps as other
        on
            one.period_id = other.period_id
            and one.offer_key = other.offer_key
            and one.region < other.region
            and (
                abs(one.price_usd / one.previous_price_usd - 1) > 0.001
                or abs(other.price_usd / other.previous_price_usd - 1) > 0.001
            )
    group by one.period_id, one.region, other.region
    having count(*) >= 3

),

swapped_pairs as (

    select
        pairs.*,
        -- The way back is the end of a swap and not another one.
        pairs.returned_series_count >= rules.swapped_share * pairs.series_count as is_return
    from pairs
    cross join rules
    where pairs.swapped_series_count >= rules.swapped_share * pairs.series_count

),

sides as (

    select
        *,
        one_region as region
    from swapped_pairs
    union all
    select
        *,
        other_region as region
    from swapped_pairs

),

-- Where several regions have the same prices, a side may fit several others: the first is named.
final as (

    select
        period_id,
        region,
        min(one_region || ' and ' || other_region) as evidence,
        max(series_count) as series_count,
        max(swapped_series_count) as swapped_series_count,
        max(case when is_return then 1 else 0 end) = 1 as is_return
    from sides
    group by period_id, region

)

select * from final
