with lines as (

    select * from {{ ref("int_billing_lines") }}

),

periods as (

    select * from {{ ref("stg_billing__periods") }}

),

said as (

    select
        provider,
        source_name,
        billing_period,
        -- What is billed by the month says nothing of how far its hours have come.
        max(
            case
                when charge_type = 'usage' and charge_to_at <= {{ plus_hours("charge_from_at", 24) }}
                    then charge_to_at
            end
        ) as last_charge_at,
        max(charge_to_at) as last_any_charge_at,
        count(*) = sum(case when has_invoice then 1 else 0 end) as is_invoiced
    from lines
    group by provider, source_name, billing_period

),

-- Providers keep correcting a month for some days after its end; one that was delivered later than that, or
-- whose lines name their invoice, is closed.
dated as (

    select
        said.provider,
        said.source_name,
        said.billing_period,
        {{ start_of_day("said.billing_period") }} as period_start_at,
        {{ start_of_day(next_month("said.billing_period")) }} as period_end_at,
        coalesce(said.last_charge_at, said.last_any_charge_at) as last_charge_at,
        said.is_invoiced
        or periods.delivered_at
        >= {{ plus_hours(start_of_day(next_month("said.billing_period")), bill_close_hours()) }} as is_final,
        periods.delivered_at
    from said
    inner join periods
        on
            said.source_name = periods.source_name
            and said.billing_period = periods.billing_period

),

-- Several bills may speak of one provider (an account each): what all of them have reached is billed.
final as (

    select
        provider,
        billing_period,
        min(period_start_at) as period_start_at,
        min(period_end_at) as period_end_at,
        min(case when is_final then period_end_at else least(last_charge_at, period_end_at) end)
            as billed_until_at,
        min(case when is_final then 1 else 0 end) = 1 as is_final,
        max(delivered_at) as delivered_at
    from dated
    group by provider, billing_period

)

select * from final
