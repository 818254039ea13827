-- Modelled cost and the named residuals are the bill, to the last decimal; what is left to rounding is less
-- than a hundred-thousandth of a dollar per GPU-hour.
select
    usage_date,
    provider,
    region,
    instance_type,
    pricing_category
from {{ ref("fct_bill_reconciliation_daily") }}
where
    modelled_cost_usd + not_yet_billed_usd + fleet_without_bill_usd + bill_without_fleet_usd
    + rate_difference_usd + unused_commitment_usd + credits_and_taxes_usd + rounding_usd <> billed_cost_usd
    or abs(rounding_usd) > 0.00001 * (fleet_gpu_hours + billed_gpu_hours + 1)
