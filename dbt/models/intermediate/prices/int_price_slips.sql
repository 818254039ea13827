-- What moves many prices at once: a whole dataset or a whole region by one ratio, or two regions that show
-- each other's prices (int_price_swaps). Such a feed is judged by its level, the product of its common
-- factors: it is held while the level is off the trusted one.

with recursive

periods as (

    select * from {{ ref("int_price_snapshots") }}

),

own_factors as (

    select * from {{ ref("int_price_factors") }}
    where not is_part_of_other

),

swaps as (

    select * from {{ ref("int_price_swaps") }}

),

-- Units are confused in both directions; a currency only in one, for the way back is a return to a level that
-- was trusted.
causes as (

    select
        ln(cast(factor as double)) as log_factor,
        0.005 as tolerance,
        likely_cause
    from {{ ref("price_slip_factors") }}
    union all
    select
        -ln(cast(factor as double)) as log_factor,
        0.005 as tolerance,
        likely_cause
    from {{ ref("price_slip_factors") }}
    union all
    select
        ln(cast(units_per_usd as double)) as log_factor,
        cast(tolerance as double) as tolerance,
        'prices in ' || currency || ' read as USD' as likely_cause
    from {{ ref("price_currency_rates") }}

),

scopes as (

    select distinct
        periods.source,
        periods.dataset,
        own_factors.region
    from own_factors
    inner join periods on own_factors.period_id = periods.period_id

),

-- The level of a scope is the sum of its logarithms so far; a segment is a run of periods at one level.
scope_periods as (

    select
        periods.period_id,
        periods.source,
        periods.dataset,
        periods.seen_from_at,
        periods.seen_until_at,
        scopes.region,
        own_factors.moved_series_count,
        own_factors.series_count,
        count(own_factors.period_id) over (
            partition by periods.source, periods.dataset, scopes.region
            order by periods.period_number
            rows between unbounded preceding and current row
        ) as segment_number,
        sum(coalesce(ln(cast(own_factors.step_ratio as double)), 0)) over (
            partition by periods.source, periods.dataset, scopes.region
            order by periods.period_number
            rows between unbounded preceding and current row
        ) as log_level
    from scopes
    inner join periods on scopes.source = periods.source and scopes.dataset = periods.dataset
    left join own_factors
        on
            periods.period_id = own_factors.period_id
            and coalesce(scopes.region, '') = coalesce(own_factors.region, '')

),

segments as (

    select
        source,
        dataset,
        region,
        segment_number,
        min(log_level) as log_level,
        min(seen_from_at) as begins_at,
        max(seen_until_at) as last_seen_at,
        max(moved_series_count) as moved_series_count,
        max(series_count) as series_count
    from scope_periods
    group by source, dataset, region, segment_number

),

-- Walks the few segments of a scope in order. The trusted level follows a move without a known cause once a
-- pull at least 6 hours later has seen it, a move with one only when it outlives the hold.
verdicts as (

    select
        segments.source,
        segments.dataset,
        segments.region,
        segments.segment_number,
        segments.begins_at,
        segments.moved_series_count,
        segments.series_count,
        'trusted' as verdict,
        cast(0 as double) as log_factor,
        segments.log_level as trusted_log_level
    from segments
    where segments.segment_number = 0
    union all
    select
        judged.source,
        judged.dataset,
        judged.region,
        judged.segment_number,
        judged.begins_at,
        judged.moved_series_count,
        judged.series_count,
        judged.verdict,
        judged.log_factor,
        case
            when judged.verdict = 'trusted' then judged.log_level
            when
                judged.verdict = 'named'
                and judged.last_seen_at
                >= {{ plus_hours("judged.begins_at", 24 * (price_slip_hold_days() | int)) }}
                then judged.log_level
            when
                judged.verdict = 'unnamed'
                and judged.last_seen_at >= {{ plus_hours("judged.begins_at", price_confirmation_hours()) }}
                then judged.log_level
            else judged.trusted_log_level
        end as trusted_log_level
    from (
        select
            segments.*,
            verdicts.trusted_log_level,
            segments.log_level - verdicts.trusted_log_level as log_factor,
            case
                when abs(segments.log_level - verdicts.trusted_log_level) < 0.01 then 'trusted'
                when
                    exists (
                        select causes.log_factor from causes
                        where
                            abs(segments.log_level - verdicts.trusted_log_level - causes.log_factor)
                            <= causes.tolerance
                    )
                    then 'named'
                else 'unnamed'
            end as verdict
        from verdicts
        inner join segments
            on
                verdicts.source = segments.source
                and verdicts.dataset = segments.dataset
                and coalesce(verdicts.region, '') = coalesce(segments.region, '')
                and verdicts.segment_number + 1 = segments.segment_number
    ) as judged

),

named_verdicts as (

    select
        verdicts.*,
        causes.likely_cause,
        row_number() over (
            partition by verdicts.source, verdicts.dataset, verdicts.region, verdicts.segment_number
            order by abs(verdicts.log_factor - causes.log_factor)
        ) as cause_rank
    from verdicts
    left join causes
        on
            verdicts.verdict = 'named'
            and abs(verdicts.log_factor - causes.log_factor) <= causes.tolerance
    where verdicts.verdict <> 'trusted'

),

final as (

    select
        scope_periods.period_id,
        scope_periods.region,
        case when scope_periods.region is null then 'common_factor' else 'regional_factor' end as rule_id,
        cast(exp(named_verdicts.log_factor) as decimal(28, 8)) as factor,
        named_verdicts.likely_cause,
        -- All regions that moved alike are one event.
        cast(cast(exp(named_verdicts.log_factor) as decimal(28, 2)) as varchar) as event_key,
        cast(null as varchar) as evidence,
        named_verdicts.moved_series_count,
        named_verdicts.series_count as compared_series_count,
        named_verdicts.verdict = 'unnamed' as is_confirmable
    from scope_periods
    inner join named_verdicts
        on
            scope_periods.source = named_verdicts.source
            and scope_periods.dataset = named_verdicts.dataset
            and coalesce(scope_periods.region, '') = coalesce(named_verdicts.region, '')
            and scope_periods.segment_number = named_verdicts.segment_number
            and named_verdicts.cause_rank = 1
    where
        scope_periods.seen_from_at
        < case
            when named_verdicts.verdict = 'named'
                then {{ plus_hours("named_verdicts.begins_at", 24 * (price_slip_hold_days() | int)) }}
            else {{ plus_hours("named_verdicts.begins_at", price_confirmation_hours()) }}
        end
    union all
    select
        swaps.period_id,
        swaps.region,
        'regions_swapped' as rule_id,
        cast(1 as decimal(28, 8)) as factor,
        'two regions swapped' as likely_cause,
        swaps.evidence as event_key,
        swaps.evidence,
        swaps.swapped_series_count as moved_series_count,
        swaps.series_count as compared_series_count,
        true as is_confirmable
    from swaps
    where not swaps.is_return

)

select * from final
