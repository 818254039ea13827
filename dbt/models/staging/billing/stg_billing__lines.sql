-- What a line is, in words that FOCUS and CUR share.

with source as (

    select * from {{ source("raw", "billing_lines") }}

),

typed as (

    select
        *,
        case
            -- CUR states each kind of line by a word of its own.
            when kind = 'aws_cur2' and charge_type_raw = 'SavingsPlanNegation' then 'negation'
            when kind = 'aws_cur2' and charge_type_raw in ('SavingsPlanRecurringFee', 'RIFee')
                then 'unused_commitment'
            when
                kind = 'aws_cur2'
                and (
                    charge_type_raw = 'SavingsPlanUpfrontFee'
                    or (charge_type_raw = 'Fee' and commitment_id is not null)
                )
                then 'commitment_purchase'
            when kind = 'aws_cur2' and charge_type_raw = 'Fee' then 'purchase'
            when kind = 'aws_cur2' and usage_type_raw like '%UnusedBox:%' then 'unused_capacity'
            when
                kind = 'aws_cur2'
                and charge_type_raw in ('Usage', 'DiscountedUsage', 'SavingsPlanCoveredUsage')
                then 'usage'
            when kind = 'aws_cur2' and charge_type_raw like '%Discount' then 'credit'
            when lower(charge_type_raw) = 'usage' and lower(commitment_status_raw) = 'unused'
                then 'unused_commitment'
            when lower(charge_type_raw) = 'usage' and lower(capacity_status_raw) = 'unused'
                then 'unused_capacity'
            when lower(charge_type_raw) = 'purchase' and commitment_id is not null then 'commitment_purchase'
            when
                lower(charge_type_raw) in ('usage', 'purchase', 'tax', 'credit', 'adjustment', 'refund')
                then lower(charge_type_raw)
            else 'other'
        end as charge_type
    from source

),

final as (

    select
        source_name,
        kind,
        billing_period,
        has_invoice,

        -- what it is
        charge_type,
        coalesce(lower(charge_class_raw) = 'correction', false) as is_correction,
        provider_raw,
        region_raw as region,
        resource_id,
        deployment_tag,
        instance_type_raw,
        usage_type_raw,
        description_raw,
        case
            when kind = 'aws_cur2' and (usage_type_raw like '%SpotUsage:%' or pricing_category_raw = 'Spot')
                then 'Dynamic'
            -- Used, bought or unused: the lines of a commitment name it.
            when kind = 'aws_cur2' and commitment_id is not null then 'Committed'
            when kind = 'aws_cur2' and charge_type_raw in ('DiscountedUsage', 'SavingsPlanCoveredUsage')
                then 'Committed'
            when kind = 'aws_cur2' then 'Standard'
            when commitment_id is not null or lower(pricing_category_raw) = 'committed' then 'Committed'
            when lower(pricing_category_raw) = 'dynamic' then 'Dynamic'
            else 'Standard'
        end as pricing_category,
        commitment_id,
        case
            when lower(commitment_category_raw) in ('spend', 'savings_plan') then 'savings_plan'
            when lower(commitment_category_raw) in ('usage', 'reservation') then 'reservation'
        end as commitment_kind,

        -- when
        charge_from_at,
        charge_to_at,

        -- how much
        quantity,
        lower(quantity_unit_raw) as quantity_unit,
        upper(currency) as currency,
        billed_amount,
        -- FOCUS amortises itself. In CUR what a line cost depends on its kind; of fees only the part that
        -- nothing used is a cost of its own, the rest is in the lines that used it.
        case
            when kind <> 'aws_cur2' then effective_amount
            when charge_type_raw = 'SavingsPlanCoveredUsage' then plan_effective_amount
            when charge_type_raw = 'SavingsPlanRecurringFee' then plan_committed_amount - plan_used_amount
            when charge_type_raw = 'DiscountedUsage' then reservation_effective_amount
            when charge_type_raw = 'RIFee' then reservation_unused_amount
            when charge_type in ('negation', 'commitment_purchase') then 0
            else billed_amount
        end as effective_amount,
        list_amount,
        contracted_amount
    from typed

)

select * from final
