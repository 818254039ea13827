-- Where the source splits a commitment, recurring + upfront / (years x 8760) is the effective price, to the
-- cent over the whole term.
select
    series_id,
    valid_from_at
from {{ ref("fct_gpu_prices") }}
where
    pricing_model in ('reserved', 'savings_plan')
    and recurring_usd_per_instance_hour is not null
    and abs(
        cast(recurring_usd_per_instance_hour - price_usd_per_instance_hour as decimal(28, 8))
        * coalesce({{ term_hours("term_months") }}, 1)
        + upfront_usd_per_instance
    ) > 0.01
