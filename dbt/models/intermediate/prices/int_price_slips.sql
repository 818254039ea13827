-- What moves many prices at once: a whole dataset or a whole region by one ratio, or two regions that show
-- each other's prices (int_price_swaps). Such a feed is judged by its level, the product of its common
-- factors: it is held while the level is off the trusted one.

with recursive

periods as (

    select * from {{ ref("int_price_snapshots") }}

),

-- What the run looks at of each dataset.
views as (

    select
        source,
        dataset,
        min(seen_from_at) as begins_at,
        max(seen_until_at) as last_seen_at
    from periods
    group by source, dataset

),

-- A slip that is held may have begun long before. Not half a year: the hold is a month, and a feed that went
-- from one slip to the next for longer has become another feed.
own_factors as (

    select
        factors.*,
        views.last_seen_at,
        coalesce(factors.region, '') as scope
    from {{ ref("int_price_factors") }} as factors
    inner join views on factors.source = views.source and factors.dataset = views.dataset
    where
        not factors.is_part_of_other
        and factors.seen_from_at >= {{ plus_hours("views.begins_at", -24 * 183) }}

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

-- The level of a scope is the sum of its logarithms so far; a segment is a run of periods at one level.
moved_segments as (

    select
        source,
        dataset,
        scope,
        region,
        row_number() over (partition by source, dataset, scope order by period_number) as segment_number,
        sum(ln(cast(step_ratio as double))) over (
            partition by source, dataset, scope order by period_number
            rows between unbounded preceding and current row
        ) as log_level,
        seen_from_at as begins_at,
        lead(seen_from_at) over (
            partition by source, dataset, scope order by period_number
        ) as next_begins_at,
        coalesce(
            lead(previous_seen_until_at) over (partition by source, dataset, scope order by period_number),
            last_seen_at
        ) as last_seen_at,
        moved_series_count,
        series_count
    from own_factors

),


-- Walks the few segments of a scope in order. The trusted level follows a move without a known cause once a
-- pull at least 6 hours later has seen it, a move with one only when it outlives the hold.
verdicts as (

    select
        source,
        dataset,
        scope,
        region,
        cast(0 as bigint) as segment_number,
        begins_at,
        next_begins_at,
        moved_series_count,
        series_count,
        'trusted' as verdict,
        cast(0 as double) as log_factor,
        cast(0 as double) as trusted_log_level
    from moved_segments
    where segment_number = 1
    union all
    select
        judged.source,
        judged.dataset,
        judged.scope,
        judged.region,
        judged.segment_number,
        judged.begins_at,
        judged.next_begins_at,
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
            moved_segments.*,
            verdicts.trusted_log_level,
            moved_segments.log_level - verdicts.trusted_log_level as log_factor,
            case
                when abs(moved_segments.log_level - verdicts.trusted_log_level) < 0.01 then 'trusted'
                when
                    exists (
                        select causes.log_factor from causes
                        where
                            abs(moved_segments.log_level - verdicts.trusted_log_level - causes.log_factor)
                            <= causes.tolerance
                    )
                    then 'named'
                else 'unnamed'
            end as verdict
        from verdicts
        inner join moved_segments
            on
                verdicts.source = moved_segments.source
                and verdicts.dataset = moved_segments.dataset
                and verdicts.scope = moved_segments.scope
                and verdicts.segment_number + 1 = moved_segments.segment_number
    ) as judged

),

named_verdicts as (

    select
        verdicts.*,
        causes.likely_cause,
        row_number() over (
            partition by verdicts.source, verdicts.dataset, verdicts.scope, verdicts.segment_number
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
        periods.period_id,
        named_verdicts.region,
        case when named_verdicts.region is null then 'common_factor' else 'regional_factor' end as rule_id,
        cast(exp(named_verdicts.log_factor) as decimal(28, 8)) as factor,
        named_verdicts.likely_cause,
        -- All regions that moved alike are one event.
        cast(cast(exp(named_verdicts.log_factor) as decimal(28, 2)) as varchar) as event_key,
        cast(null as varchar) as evidence,
        named_verdicts.moved_series_count,
        named_verdicts.series_count as compared_series_count,
        named_verdicts.verdict = 'unnamed' as is_confirmable
    from periods
    inner join named_verdicts
        on
            periods.source = named_verdicts.source
            and periods.dataset = named_verdicts.dataset
            and periods.seen_from_at >= named_verdicts.begins_at
            and (
                named_verdicts.next_begins_at is null
                or periods.seen_from_at < named_verdicts.next_begins_at
            )
            and named_verdicts.cause_rank = 1
    where
        periods.seen_from_at
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
