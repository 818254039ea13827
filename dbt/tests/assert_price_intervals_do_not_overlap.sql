-- A series has one price at a time: each interval ends before the next one of the series begins.
with intervals as (

    select
        series_id,
        valid_from_at,
        valid_to_at,
        lead(valid_from_at) over (partition by series_id order by valid_from_at) as next_valid_from_at
    from {{ ref("int_gpu_price_intervals") }}

)

select *
from intervals
where
    valid_to_at <= valid_from_at
    or next_valid_from_at < valid_to_at
    or (valid_to_at is null and next_valid_from_at is not null)
