-- A pull that finds nothing new confirms the snapshot before it; together they are one period. Refused and
-- failed pulls say nothing about prices and are left out: what was in force stays in force and grows older.
-- Only the periods that the run has to look at are here, and with them only their snapshots everywhere after.

with fetches as (

    select * from {{ ref("stg_prices__fetches") }}

),

-- Guards against an unchanged pull that names a snapshot without records: every series would look
-- withdrawn.
loaded_snapshots as (

    select distinct snapshot_id from fetches
    where outcome = 'loaded'

),

sightings as (

    select
        fetches.fetch_id,
        fetches.source,
        fetches.dataset,
        fetches.snapshot_id,
        fetches.fetched_at,
        lag(fetches.snapshot_id) over (
            partition by fetches.source, fetches.dataset
            order by fetches.fetched_at, fetches.fetch_id
        ) as previous_snapshot_id
    from fetches
    inner join loaded_snapshots on fetches.snapshot_id = loaded_snapshots.snapshot_id
    where fetches.is_success

),

numbered_sightings as (

    select
        *,
        sum(case when snapshot_id = previous_snapshot_id then 0 else 1 end) over (
            partition by source, dataset
            order by fetched_at, fetch_id
            rows between unbounded preceding and current row
        ) as period_number
    from sightings

),

dated_sightings as (

    select
        *,
        min(fetched_at) over (partition by source, dataset, period_number) as seen_from_at
    from numbered_sightings

),

periods as (

    select
        source,
        dataset,
        snapshot_id,
        cast(period_number as bigint) as period_number,
        min(fetch_id) as period_id,
        seen_from_at,
        max(fetched_at) as seen_until_at,
        min(
            case
                when fetched_at >= seen_from_at + interval '{{ price_confirmation_hours() }}' hour
                    then fetched_at
            end
        ) as confirmed_at
    from dated_sightings
    group by source, dataset, snapshot_id, period_number, seen_from_at

),

followed_periods as (

    select
        *,
        lead(seen_from_at) over (partition by source, dataset order by period_number) as next_seen_from_at,
        -- 1 of the last period that ended before the look-back begins, 2 of the one before it, ...
        case
            when
                seen_until_at
                < {{ plus_hours(prices_settled_until_at(), -24 * price_look_back_days()) }}
                then
                    row_number() over (
                        partition by
                            source,
                            dataset,
                            seen_until_at
                            < {{ plus_hours(prices_settled_until_at(), -24 * price_look_back_days()) }}
                        order by period_number desc
                    )
            else 0
        end as age_rank
    from periods

),

final as (

    select
        period_id,
        source,
        dataset,
        snapshot_id,
        period_number,
        seen_from_at,
        seen_until_at,
        confirmed_at,
        next_seen_from_at
    from followed_periods
    where age_rank <= 5

)

select * from final
