-- What the marts say a day cost, with its unused commitments, is what the fleet's entries and commitments
-- cost.
with fleet_parts as (

    select
        {{ day_of("hour_start_at") }} as usage_date,
        deployment,
        pricing_category,
        hour_start_at,
        sum(cost_usd) as cost_usd
    from {{ ref("int_fleet_costs__hourly") }}
    group by {{ day_of("hour_start_at") }}, deployment, pricing_category, hour_start_at
    -- A sum with an unknown part is unknown.
    having count(*) = count(cost_usd)

),

fleet_days as (

    select
        usage_date,
        sum(cost_usd) as cost_usd
    from fleet_parts
    group by usage_date

),

commitment_days as (

    select
        {{ day_of("hour_start_at") }} as usage_date,
        provider,
        gpu_model,
        sum(unused_cost_usd) as cost_usd
    from {{ ref("int_commitments__hourly") }}
    group by {{ day_of("hour_start_at") }}, provider, gpu_model
    having count(*) = count(unused_cost_usd)

),

expected_parts as (

    select
        usage_date,
        cost_usd
    from fleet_days

    union all

    select
        usage_date,
        cost_usd
    from commitment_days

),

expected as (

    select
        usage_date,
        sum(cost_usd) as cost_usd
    from expected_parts
    group by usage_date

),

stated as (

    select
        usage_date,
        coalesce(sum(effective_cost_usd), 0) + coalesce(sum(unused_commitment_cost_usd), 0) as cost_usd
    from {{ ref("fct_purchase_mix_daily") }}
    group by usage_date

)

select
    stated.usage_date,
    stated.cost_usd,
    expected.cost_usd as expected_cost_usd
from stated
full join expected on stated.usage_date = expected.usage_date
where coalesce(stated.cost_usd, 0) <> coalesce(expected.cost_usd, 0)
