-- Spreading charges over their hours loses nothing: the effective cost of GPU lines is that of their hours.
with lines as (

    select
        charge_type,
        sum(effective_usd) as effective_usd
    from {{ ref("int_billing_lines") }}
    where
        instance_type is not null
        and charge_type = 'usage'
        and effective_usd is not null
        and gpu_hours is not null
    group by charge_type

),

hours as (

    select
        charge_type,
        sum(effective_cost_usd) as effective_usd
    from {{ ref("int_billed_costs__hourly") }}
    where charge_type = 'usage'
    group by charge_type

)

select lines.charge_type
from lines
full join hours on lines.charge_type = hours.charge_type
where coalesce(lines.effective_usd, 0) <> coalesce(hours.effective_usd, 0)
