{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_date", "window_of": "records"},
) }}

-- depends_on: {{ ref('stg_ledger__run') }}
-- How many of the requests whose times are known met their deployment's target. Of several sources that
-- tell of the same requests one is listened to: the one nearest to who asked.
with targets as (

    select * from {{ ref("stg_ledger__latency_targets") }}

),

requests as (

    select * from {{ ref("stg_usage__requests") }}
    {%- if is_incremental() %}
        where usage_date >= {{ records_start_date() }}
    {%- endif %}

),

routes as (

    select * from {{ ref("int_usage_routes__resolved") }}

),

roles as (

    select * from {{ ref("usage_roles") }}

),

-- A row written twice is one request; further answers to one (n > 1) share its times.
timed as (

    select distinct
        routes.deployment,
        roles.role,
        roles.tenant_rank,
        requests.source_name,
        requests.usage_date,
        requests.request_id,
        requests.call_id,
        requests.started_at,
        requests.first_token_at,
        requests.completed_at,
        requests.output_tokens,
        targets.ttft_ms,
        targets.tpot_ms
    from requests
    inner join routes
        on
            requests.source_name = routes.source_name
            and requests.model_group = routes.model_group
            and requests.model = routes.model
    inner join targets on routes.deployment = targets.deployment
    inner join roles on routes.role = roles.role
    where
        requests.token_source not in ('failed', 'gateway_cache')
        and requests.first_token_at >= requests.started_at
        and (targets.tpot_ms is null or requests.completed_at >= requests.first_token_at)

),

-- One token has no time between tokens.
judged as (

    select
        *,
        coalesce(
            cast({{ seconds_between("started_at", "first_token_at") }} * 1000 as double) <= ttft_ms,
            true
        )
        and coalesce(
            cast({{ seconds_between("first_token_at", "completed_at") }} * 1000 as double)
            <= tpot_ms * nullif(output_tokens - 1, 0),
            true
        ) as is_met
    from timed

),

by_role as (

    select
        deployment,
        usage_date,
        role,
        count(*) as measured_request_count,
        sum(case when is_met then 1 else 0 end) as met_request_count,
        row_number() over (partition by deployment, usage_date order by min(tenant_rank)) as role_rank
    from judged
    group by deployment, usage_date, role

),

final as (

    select
        deployment,
        usage_date,
        role,
        cast(measured_request_count as bigint) as measured_request_count,
        cast(met_request_count as bigint) as met_request_count,
        {{ share_ratio("met_request_count", "measured_request_count") }} as met_ratio
    from by_role
    where role_rank = 1

)

{{ with_archived() }}
