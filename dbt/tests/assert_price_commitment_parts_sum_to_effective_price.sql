-- Where the source splits a commitment, recurring + upfront / (years x 8760) is the effective price, to the cent per year.
select *
from {{ ref("fct_gpu_prices") }}
where
    pricing_model in ('reserved', 'savings_plan')
    and recurring_usd_per_instance_hour is not null
    and abs(
        recurring_usd_per_instance_hour * {{ term_hours("term_months") }} + upfront_usd_per_instance
        - price_usd_per_instance_hour * {{ term_hours("term_months") }}
    ) > 0.01
