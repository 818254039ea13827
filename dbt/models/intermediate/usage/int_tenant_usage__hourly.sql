{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_hour_at", "window_of": "usage"},
) }}

{%- set shared = ["input_tokens", "cached_input_tokens", "output_tokens", "request_count"] %}
{%- set own = shared + ["prompt_tokens", "reasoning_tokens", "cache_write_tokens"] %}
-- Whose the volume of an hour is. Where rows of calls cover enough of a day, they give the shares of all of
-- it: what no call explains (calls cut off, the tail of a crash) is shared in proportion. The shares are
-- those of the hour, since what a tenant asks for changes over the day and so does what an hour costs. They
-- are those of the day where the hour of a call and the hour of its tokens need not be the same: an increase
-- between scrapes far apart, or an hour without calls beside one with calls. Other hours without calls are
-- the owner's of the deployment, if the ledger names one, else nobody's.
with usage_hours as (

    select
        *,
        {{ day_of("usage_hour_at") }} as usage_date
    from {{ ref("int_usage__hourly") }}
    {{ in_usage_window("usage_hour_at") }}

),

tenant_calls as (

    select
        *,
        prompt_tokens + output_tokens as total_tokens
    from {{ ref("int_tenant_calls__hourly") }}
    {{ in_usage_window("usage_hour_at") }}

),

deployments as (

    select
        deployment,
        max(model) as model
    from {{ ref("stg_ledger__deployments") }}
    group by deployment

),

owners as (

    select * from {{ ref("stg_ledger__tenants") }}
    where match_on = 'deployment'

),

call_hours as (

    select
        deployment,
        usage_hour_at,
        max(usage_basis) as usage_basis,
        sum(total_tokens) as total_tokens
    from tenant_calls
    group by deployment, usage_hour_at

),

call_days as (

    select
        deployment,
        usage_date,
        sum(total_tokens) as total_tokens
    from tenant_calls
    group by deployment, usage_date

),

volume_days as (

    select
        deployment,
        usage_date,
        sum(total_tokens) as total_tokens
    from usage_hours
    group by deployment, usage_date

),

-- Hours of the same day on either side of one with calls.
neighbour_hours as (

    select
        deployment,
        {{ plus_hours("usage_hour_at", 1) }} as usage_hour_at,
        {{ day_of("usage_hour_at") }} as usage_date
    from call_hours
    where total_tokens > 0

    union distinct

    select
        deployment,
        {{ plus_hours("usage_hour_at", -1) }} as usage_hour_at,
        {{ day_of("usage_hour_at") }} as usage_date
    from call_hours
    where total_tokens > 0

),

shared_hours as (

    select
        usage_hours.deployment,
        usage_hours.usage_hour_at,
        usage_hours.usage_date,
        usage_hours.usage_basis,
        usage_hours.input_tokens,
        usage_hours.cached_input_tokens,
        usage_hours.output_tokens,
        usage_hours.total_tokens,
        usage_hours.request_count,
        cast({{ ratio("call_days.total_tokens", "volume_days.total_tokens") }} as decimal(28, 8))
            as coverage_ratio,
        case
            when usage_hours.usage_basis = call_hours.usage_basis then 'stated'
            when usage_hours.total_tokens is null or call_days.total_tokens is null then 'none'
            when
                cast(call_days.total_tokens as decimal(28, 2))
                < volume_days.total_tokens * {{ tenant_coverage_floor() }}
                then case when call_hours.total_tokens > 0 then 'stated_part' else 'none' end
            when call_hours.total_tokens > 0 and not coalesce(usage_hours.has_gap, false) then 'hour'
            when
                call_days.total_tokens > 0
                and usage_hours.total_tokens > 0
                and (coalesce(usage_hours.has_gap, false) or neighbour_hours.deployment is not null)
                then 'day'
            else 'none'
        end as share_basis
    from usage_hours
    left join call_hours
        on
            usage_hours.deployment = call_hours.deployment
            and usage_hours.usage_hour_at = call_hours.usage_hour_at
    left join call_days
        on
            usage_hours.deployment = call_days.deployment
            and usage_hours.usage_date = call_days.usage_date
    left join volume_days
        on
            usage_hours.deployment = volume_days.deployment
            and usage_hours.usage_date = volume_days.usage_date
    left join neighbour_hours
        on
            usage_hours.deployment = neighbour_hours.deployment
            and usage_hours.usage_hour_at = neighbour_hours.usage_hour_at
            and usage_hours.usage_date = neighbour_hours.usage_date

),

day_calls as (

    select
        deployment,
        usage_date,
        model,
        adapter,
        tenant,
        max(team) as team,
        max(cost_center) as cost_center,
        {%- for what in own %}
            sum({{ what }}) as {{ what }}{% if not loop.last %},{% endif %}
        {%- endfor %}
    from tenant_calls
    group by deployment, usage_date, model, adapter, tenant

),

-- Who has a part of which hour. Calls of the hour stand beside it as they state themselves.
parties as (

    select
        deployment,
        usage_hour_at,
        model,
        adapter,
        tenant
    from tenant_calls

    union distinct

    select
        shared_hours.deployment,
        shared_hours.usage_hour_at,
        day_calls.model,
        day_calls.adapter,
        day_calls.tenant
    from shared_hours
    inner join day_calls
        on
            shared_hours.deployment = day_calls.deployment
            and shared_hours.usage_date = day_calls.usage_date
    where shared_hours.share_basis = 'day'

),

weighted as (

    select
        shared_hours.*,
        parties.model,
        parties.adapter,
        parties.tenant,
        coalesce(tenant_calls.team, day_calls.team) as team,
        coalesce(tenant_calls.cost_center, day_calls.cost_center) as cost_center,
        coalesce(tenant_calls.request_count, 0) as stated_request_count,
        case when tenant_calls.deployment is null then 0 else tenant_calls.input_tokens end
            as stated_input_tokens,
        case when tenant_calls.deployment is null then 0 else tenant_calls.cached_input_tokens end
            as stated_cached_input_tokens,
        case when tenant_calls.deployment is null then 0 else tenant_calls.output_tokens end
            as stated_output_tokens,
        {%- for what in own if what != "input_tokens" %}
            case
                when shared_hours.share_basis = 'day' then day_calls.{{ what }} else tenant_calls.{{ what }}
            end as own_{{ what }},
        {%- endfor %}
        -- Where the volume does not tell cached tokens apart, neither do the shares.
        case
            when shared_hours.cached_input_tokens is null and shared_hours.share_basis = 'day'
                then day_calls.prompt_tokens
            when shared_hours.cached_input_tokens is null then tenant_calls.prompt_tokens
            when shared_hours.share_basis = 'day' then day_calls.input_tokens
            else tenant_calls.input_tokens
        end as own_input_tokens
    from shared_hours
    inner join parties
        on
            shared_hours.deployment = parties.deployment
            and shared_hours.usage_hour_at = parties.usage_hour_at
    left join tenant_calls
        on
            parties.deployment = tenant_calls.deployment
            and parties.usage_hour_at = tenant_calls.usage_hour_at
            and parties.model = tenant_calls.model
            and parties.adapter = tenant_calls.adapter
            and parties.tenant = tenant_calls.tenant
    left join day_calls
        on
            parties.deployment = day_calls.deployment
            and shared_hours.usage_date = day_calls.usage_date
            and parties.model = day_calls.model
            and parties.adapter = day_calls.adapter
            and parties.tenant = day_calls.tenant

),

-- What the parties of an hour have together, by class: all of it, or what their calls state, at most all of
-- it.
together as (

    select
        *,
        {%- for what in shared %}
            case
                when {{ what }} is null then null
                when share_basis in ('hour', 'day') then {{ what }}
                when share_basis = 'none' then 0
                else least(
                    {{ what }},
                    sum(coalesce(own_{{ what }}, 0)) over (partition by deployment, usage_hour_at)
                )
            end as shared_{{ what }},
            -- A class that no call of the hour states follows all tokens, and these the number of calls.
            case
                when sum(coalesce(own_{{ what }}, 0)) over (partition by deployment, usage_hour_at) > 0
                    then coalesce(own_{{ what }}, 0)
                when
                    sum(coalesce(own_prompt_tokens, 0) + coalesce(own_output_tokens, 0)) over (
                        partition by deployment, usage_hour_at
                    ) > 0
                    then coalesce(own_prompt_tokens, 0) + coalesce(own_output_tokens, 0)
                else 1
            end as {{ what }}_weight{% if not loop.last %},{% endif %}
        {%- endfor %}
    from weighted

),

allocated as (

    select
        *,
        {%- for what in shared %}
            cast(
                {{ share_of(
                    "shared_" ~ what,
                    what ~ "_weight",
                    partition_by="deployment, usage_hour_at",
                    order_by="tenant, model, adapter",
                ) }} as bigint
            ) as allocated_{{ what }}{% if not loop.last %},{% endif %}
        {%- endfor %}
    from together

),

tenant_rows as (

    select
        deployment,
        usage_hour_at,
        model,
        adapter,
        tenant,
        team,
        cost_center,
        usage_basis,
        share_basis,
        coverage_ratio,
        -- Calls that state no tokens of a class have none that is known.
        {%- for what in ["input_tokens", "cached_input_tokens", "output_tokens"] %}
            case
                when share_basis in ('hour', 'day') or own_{{ what }} is not null then allocated_{{ what }}
            end as {{ what }},
        {%- endfor %}
        {{ part_capped("allocated_output_tokens", "own_reasoning_tokens", "own_output_tokens") }}
            as reasoning_tokens,
        {{ part_capped(
            "(allocated_input_tokens + coalesce(allocated_cached_input_tokens, 0))",
            "own_cache_write_tokens",
            "own_prompt_tokens",
        ) }} as cache_write_tokens,
        allocated_request_count as request_count,
        stated_input_tokens,
        stated_cached_input_tokens,
        stated_output_tokens,
        stated_request_count
    from allocated

),

attributed as (

    select
        deployment,
        usage_hour_at,
        sum(input_tokens) as input_tokens,
        sum(cached_input_tokens) as cached_input_tokens,
        sum(output_tokens) as output_tokens,
        sum(request_count) as request_count
    from tenant_rows
    group by deployment, usage_hour_at

),

rests as (

    select
        shared_hours.deployment,
        shared_hours.usage_hour_at,
        shared_hours.usage_basis,
        shared_hours.share_basis,
        shared_hours.coverage_ratio,
        -- A class that is counted and that no party states is nobody's or the owner's, were it zero.
        attributed.deployment is null
        {%- for what in shared %}
            or (shared_hours.{{ what }} is not null and attributed.{{ what }} is null)
        {%- endfor %} as has_unstated_class,
        {%- for what in shared %}
            shared_hours.{{ what }} - coalesce(attributed.{{ what }}, 0)
                as {{ what }}{% if not loop.last %},{% endif %}
        {%- endfor %}
    from shared_hours
    left join attributed
        on
            shared_hours.deployment = attributed.deployment
            and shared_hours.usage_hour_at = attributed.usage_hour_at

),

rest_rows as (

    select
        rests.deployment,
        rests.usage_hour_at,
        coalesce(deployments.model, 'unknown') as model,
        '' as adapter,
        coalesce(owners.tenant, 'unattributed') as tenant,
        owners.team,
        owners.cost_center,
        rests.usage_basis,
        case when owners.tenant is null then rests.share_basis else 'owner' end as share_basis,
        rests.coverage_ratio,
        rests.input_tokens,
        rests.cached_input_tokens,
        rests.output_tokens,
        cast(null as bigint) as reasoning_tokens,
        cast(null as bigint) as cache_write_tokens,
        rests.request_count,
        0 as stated_input_tokens,
        0 as stated_cached_input_tokens,
        0 as stated_output_tokens,
        0 as stated_request_count
    from rests
    left join deployments on rests.deployment = deployments.deployment
    left join owners on rests.deployment = owners.pattern
    where
        rests.has_unstated_class
        or rests.input_tokens + coalesce(rests.cached_input_tokens, 0) + rests.output_tokens > 0
        or rests.request_count > 0

),

rows_together as (

    select * from tenant_rows

    union all

    select * from rest_rows

),

-- An owner may have calls of its own in the hour: what they state and the rest are one row.
final as (

    select
        deployment,
        cast(usage_hour_at as timestamptz) as usage_hour_at,
        model,
        adapter,
        tenant,
        max(team) as team,
        max(cost_center) as cost_center,
        cast(sum(input_tokens) as bigint) as input_tokens,
        cast(sum(cached_input_tokens) as bigint) as cached_input_tokens,
        cast(sum(output_tokens) as bigint) as output_tokens,
        cast(sum(reasoning_tokens) as bigint) as reasoning_tokens,
        cast(sum(cache_write_tokens) as bigint) as cache_write_tokens,
        cast(sum(input_tokens) + coalesce(sum(cached_input_tokens), 0) + sum(output_tokens) as bigint)
            as total_tokens,
        cast(sum(request_count) as bigint) as request_count,
        cast(sum(stated_input_tokens) as bigint) as stated_input_tokens,
        cast(sum(stated_cached_input_tokens) as bigint) as stated_cached_input_tokens,
        cast(sum(stated_output_tokens) as bigint) as stated_output_tokens,
        cast(sum(stated_request_count) as bigint) as stated_request_count,
        max(usage_basis) as usage_basis,
        coalesce(max(case when share_basis = 'owner' then share_basis end), max(share_basis)) as share_basis,
        max(share_basis) in ('hour', 'day') and tenant <> 'unattributed' as is_scaled,
        max(coverage_ratio) as coverage_ratio
    from rows_together
    group by deployment, usage_hour_at, model, adapter, tenant

)

select * from final
