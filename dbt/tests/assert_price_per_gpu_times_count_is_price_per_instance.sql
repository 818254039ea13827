-- Per-GPU and per-instance prices are the same money. The eighth decimal of the per-GPU price is rounded,
-- hence the slack of half of it for each GPU.
select
    series_id,
    valid_from_at
from {{ ref("fct_gpu_prices") }}
where
    price_usd_per_gpu_hour is not null
    and abs(
        cast(price_usd_per_gpu_hour as decimal(28, 8)) * cast(gpu_count as decimal(10, 6))
        - price_usd_per_instance_hour
    ) > 0.000000005 * gpu_count
