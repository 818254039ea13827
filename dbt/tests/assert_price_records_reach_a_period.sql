-- No loaded snapshot is lost between the raw records and the periods in which prices are judged.
select distinct fetches.snapshot_id
from {{ ref("stg_prices__fetches") }} as fetches
left join {{ ref("int_price_snapshots") }} as periods on fetches.snapshot_id = periods.snapshot_id
where
    fetches.outcome = 'loaded'
    and fetches.fetched_at >= (select run.prices_settled_until_at from {{ ref("stg_ledger__run") }} as run)
    and periods.snapshot_id is null
