-- Absent is never zero: each published row has a price above zero, or says why it has none, and never both.
select
    series_id,
    valid_from_at
from {{ ref("fct_gpu_prices") }}
where
    (price_usd_per_gpu_hour is null) = (price_null_reason is null)
    or price_usd_per_gpu_hour <= 0
    or price_usd_per_instance_hour <= 0
