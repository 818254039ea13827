-- Per-GPU and per-instance prices are the same money. The eighth decimal of the per-GPU price is rounded, hence the slack
-- of half of it for each GPU.
select *
from {{ ref("fct_gpu_prices") }}
where
    price_usd_per_gpu_hour is not null
    and abs(price_usd_per_gpu_hour * gpu_count - price_usd_per_instance_hour) > 0.000000005 * gpu_count
