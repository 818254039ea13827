with lines as (

    select * from {{ ref("int_billing_lines") }}

),

restatements as (

    select * from {{ ref("stg_billing__restatements") }}

),

-- Multiplies rows: a line may have several.
found as (

    select
        source_name,
        billing_period,
        'effective_cost_missing' as finding,
        list_usd as amount_usd
    from lines
    where is_effective_cost_missing

    union all

    select
        source_name,
        billing_period,
        'negative_cost' as finding,
        coalesce(effective_usd, billed_usd) as amount_usd
    from lines
    where billed_usd < 0 or effective_usd < 0

    union all

    select
        source_name,
        billing_period,
        'other_currency' as finding,
        billed_usd as amount_usd
    from lines
    where currency <> 'USD' and usd_per_unit is not null

    union all

    select
        source_name,
        billing_period,
        'no_exchange_rate' as finding,
        cast(null as decimal(38, 10)) as amount_usd
    from lines
    where usd_per_unit is null

    union all

    select
        source_name,
        billing_period,
        'unit_is_no_time' as finding,
        effective_usd as amount_usd
    from lines
    where instance_type is not null and charge_type = 'usage' and gpu_hours is null

    union all

    select
        source_name,
        billing_period,
        'unknown_charge' as finding,
        billed_usd as amount_usd
    from lines
    where charge_type = 'other'

    union all

    select
        source_name,
        billing_period,
        'restated' as finding,
        cast(billed_amount_after - billed_amount_before as decimal(38, 10)) as amount_usd
    from restatements

),

final as (

    select
        source_name,
        billing_period,
        finding,
        count(*) as occurrences,
        cast(sum(amount_usd) as decimal(38, 10)) as amount_usd
    from found
    group by source_name, billing_period, finding

)

select * from final
