-- A figure that was published and then changed: from what, to what, and which part of it moved.
with versions as (

    select * from {{ ref("int_cost_versions") }}

),

days as (

    select
        usage_date,
        min(stated_at) as first_stated_at
    from versions
    group by usage_date

),

-- A deployment that appears in a day already published changes that day too: before, it cost nothing there.
followed as (

    select
        versions.*,
        lag(versions.version_number) over later as previous_version_number,
        lag(versions.is_withdrawn) over later as was_withdrawn,
        lag(versions.gpu_hours) over later as previous_gpu_hours,
        lag(versions.cost_usd) over later as previous_cost_usd,
        lag(versions.rate_basis) over later as previous_rate_basis,
        lag(versions.total_tokens) over later as previous_total_tokens,
        days.first_stated_at
    from versions
    inner join days on versions.usage_date = days.usage_date
    window later as (
        partition by versions.usage_date, versions.scope, versions.name, versions.pricing_category
        order by versions.version_number
    )

),

restated as (

    select
        *,
        coalesce(was_withdrawn, true) as is_new
    from followed
    where previous_version_number is not null or stated_at > first_stated_at

),

final as (

    select
        usage_date,
        scope,
        name,
        pricing_category,
        version_number,
        stated_at as restated_at,
        run_id,
        case when is_new then 0 else previous_gpu_hours end as from_gpu_hours,
        case when is_withdrawn then 0 else gpu_hours end as to_gpu_hours,
        case when is_new then 0 else previous_cost_usd end as from_cost_usd,
        case when is_withdrawn then 0 else cost_usd end as to_cost_usd,
        cast(
            case when is_withdrawn then 0 else cost_usd end
            - case when is_new then 0 else previous_cost_usd end
            as decimal(38, 10)
        ) as change_cost_usd,
        previous_rate_basis as from_rate_basis,
        rate_basis as to_rate_basis,
        case when is_new then null else previous_total_tokens end as from_total_tokens,
        total_tokens as to_total_tokens,
        -- In the order in which one follows from the other.
        case
            when is_withdrawn then 'withdrawn'
            when is_new then 'added'
            when (gpu_hours is distinct from previous_gpu_hours) then 'gpu_hours'
            when (rate_basis is distinct from previous_rate_basis) then 'rate_basis'
            when (cost_usd is distinct from previous_cost_usd) then 'rate'
            when (total_tokens is distinct from previous_total_tokens) then 'tokens'
            else 'provider'
        end as cause,
        stated_at > closes_at as is_after_close
    from restated

)

select * from final
