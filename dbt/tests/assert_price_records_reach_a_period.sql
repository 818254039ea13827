-- No loaded snapshot is lost between the raw records and the periods in which prices are judged.
select loads.snapshot_id
from {{ ref("stg_prices__loads") }} as loads
left join {{ ref("int_price_snapshots") }} as periods on loads.snapshot_id = periods.snapshot_id
where
    loads.fetched_at >= (select run.prices_settled_until_at from {{ ref("stg_ledger__run") }} as run)
    and periods.snapshot_id is null
