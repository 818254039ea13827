-- What is unknown says why: cost and tokens by the hour, unit costs and savings by the day.
select
    'hourly' as grain,
    usage_date
from {{ ref("fct_inference_costs_hourly") }}
where (null_reason is null) <> (cost_usd is not null and usage_basis is not null)

union all

select
    'daily' as grain,
    usage_date
from {{ ref("fct_unit_costs_daily") }}
where
    (null_reason is null) <> (cost_usd_per_million_total_tokens is not null)
    or (attempted_request_null_reason is null) <> (cost_usd_per_attempted_request is not null)
    or attempted_request_count < request_count

union all

select
    'mix' as grain,
    usage_date
from {{ ref("fct_purchase_mix_daily") }}
where (null_reason is null) <> (savings_usd is not null)
