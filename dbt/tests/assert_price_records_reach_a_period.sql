-- No loaded snapshot is lost between the raw records and the periods in which prices are judged.
select distinct records.snapshot_id
from {{ ref("stg_prices__records") }} as records
left join {{ ref("int_price_snapshots") }} as periods on records.snapshot_id = periods.snapshot_id
where periods.snapshot_id is null
