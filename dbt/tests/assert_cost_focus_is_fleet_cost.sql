-- noqa: disable=CP02
-- FOCUS rows sum, day by day, to what the priced hours of the fleet cost and what commitments left unused.
with focus as (

    select
        {{ day_of("ChargePeriodStart") }} as usage_date,
        sum(EffectiveCost) as cost_usd
    from {{ ref("focus_cost_and_usage") }}
    group by {{ day_of("ChargePeriodStart") }}

),

ledger as (

    select
        usage_date,
        cost_usd
    from {{ ref("fct_inference_costs_hourly") }}

    union all

    select
        {{ day_of("hour_start_at") }} as usage_date,
        unused_cost_usd as cost_usd
    from {{ ref("int_commitments__hourly") }}

),

ledger_daily as (

    select
        usage_date,
        sum(cost_usd) as cost_usd
    from ledger
    where cost_usd is not null
    group by usage_date

)

select
    coalesce(focus.usage_date, ledger_daily.usage_date) as usage_date,
    focus.cost_usd as focus_cost_usd,
    ledger_daily.cost_usd
from focus
full outer join ledger_daily on focus.usage_date = ledger_daily.usage_date
where coalesce(focus.cost_usd, 0) <> coalesce(ledger_daily.cost_usd, 0)
