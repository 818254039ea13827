-- Each month by what was in force when it was closed, and what has been restated since.
with versions as (

    select * from {{ ref("int_cost_versions") }}

),

placed as (

    select
        *,
        superseded_at is null as is_latest,
        stated_at <= closes_at and (superseded_at is null or superseded_at > closes_at) as is_at_close,
        case
            when as_of_end_at < {{ start_of_day("month_end_date") }} then 'open'
            when run_started_at < closes_at then 'provisional'
            else 'closed'
        end as state
    from versions

),

summed as (

    select
        month_start_date,
        scope,
        name,
        pricing_category,
        max(provider) as provider,
        max(state) as state,
        max(closes_at) as closes_at,
        {%- for moment in ["latest", "at_close"] %}
            sum(case when is_{{ moment }} and not is_withdrawn then gpu_hours end) as gpu_hours_{{ moment }},
            sum(case when is_{{ moment }} and not is_withdrawn then cost_usd end) as cost_usd_{{ moment }},
            sum(case when is_{{ moment }} and not is_withdrawn then total_tokens end)
                as total_tokens_{{ moment }},
            -- Half a month's cost is no month's cost.
            max(case when is_{{ moment }} and not is_withdrawn and cost_usd is null then 1 else 0 end) = 1
                as has_unpriced_{{ moment }},
        {%- endfor %}
        max(case when is_latest and not is_withdrawn then 1 else 0 end) = 1 as is_in_ledger,
        max(case when is_at_close and not is_withdrawn then 1 else 0 end) = 1 as was_in_ledger
    from placed
    group by month_start_date, scope, name, pricing_category

),

final as (

    select
        month_start_date,
        scope,
        name,
        pricing_category,
        provider,
        state,
        closes_at,
        cast(gpu_hours_latest as decimal(18, 6)) as gpu_hours,
        cast(total_tokens_latest as bigint) as total_tokens,
        case
            when not is_in_ledger then 0
            when not has_unpriced_latest then cast(cost_usd_latest as decimal(38, 10))
        end as cost_usd,
        case
            when state <> 'closed' then null
            when not was_in_ledger then 0
            when not has_unpriced_at_close then cast(cost_usd_at_close as decimal(38, 10))
        end as cost_usd_at_close,
        cast(
            case
                when state = 'closed'
                    then
                        case
                            when not is_in_ledger then 0
                            when not has_unpriced_latest then cost_usd_latest
                        end
                        - case
                            when not was_in_ledger then 0
                            when not has_unpriced_at_close then cost_usd_at_close
                        end
            end as decimal(38, 10)
        ) as restated_cost_usd,
        case when is_in_ledger and has_unpriced_latest then 'not_fully_priced' end as null_reason
    from summed

)

select * from final
