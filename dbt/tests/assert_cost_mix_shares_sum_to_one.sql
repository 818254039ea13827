-- The shares of the categories of a day, provider and GPU model sum to 1 wherever GPU-hours were used.
select
    usage_date,
    provider,
    gpu_model
from {{ ref("fct_purchase_mix_daily") }}
group by usage_date, provider, gpu_model
having sum(gpu_hours) > 0 and sum(share_ratio) <> 1
