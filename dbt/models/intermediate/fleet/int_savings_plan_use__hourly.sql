{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "hour_start_at", "window_of": "costs"},
) }}

-- Savings plans promise to spend so much an hour, and are applied one after the other: those of one family
-- first, then those of any, each in the order in which they began. A plan pays, at its own prices, for the
-- usage on which it saves most, until the hour's promise is used up (documentation of AWS: "Understanding how
-- Savings Plans apply to your usage": highest savings percentage first, then the lowest plan rate).

with recursive on_demand as (

    select * from {{ ref("int_on_demand__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

commitments as (

    select * from {{ ref("int_commitments__rated") }}

),

offers as (

    select * from {{ ref("int_commitment_offers") }}

),

hours as (

    select * from {{ ref("int_hours__spanned") }}
    {{ in_costs_window("hour_start_at") }}

),

plans as (

    select
        commitment_id,
        provider,
        usd_per_hour,
        valid_from_at,
        valid_to_at,
        row_number() over (
            partition by provider
            order by
                case when kind = 'ec2_instance_savings_plan' then 0 else 1 end,
                valid_from_at,
                commitment_id
        ) as plan_number
    from commitments
    where usd_per_hour is not null

),

-- Of a plan that begins or ends inside an hour, the hour has its part.
promises as (

    select
        plans.commitment_id,
        plans.plan_number,
        hours.hour_start_at,
        {{ promised_usd("plans", "hours") }} as promised_usd
    from plans
    inner join hours
        on
            plans.valid_from_at < hours.hour_end_at
            and plans.valid_to_at > hours.hour_start_at

),

-- Multiplies rows on purpose: usage has one row per plan that may pay for it.
candidates as (

    select
        on_demand.allocation_id,
        on_demand.allocation_position,
        on_demand.hour_start_at,
        promises.commitment_id,
        promises.plan_number,
        promises.promised_usd,
        offers.rate_usd_per_gpu_hour,
        {{ ratio("offers.rate_usd_per_gpu_hour", "on_demand.on_demand_rate_usd_per_gpu_hour") }} as paid_ratio
    from on_demand
    inner join offers
        on
            on_demand.provider = offers.provider
            and on_demand.region = offers.region
            and on_demand.instance_type = offers.instance_type
    inner join promises
        on
            offers.commitment_id = promises.commitment_id
            and on_demand.hour_start_at = promises.hour_start_at
    where on_demand.gpu_hours > 0

),

last_candidates as (

    select
        allocation_id,
        hour_start_at,
        max(plan_number) as last_plan_number
    from candidates
    group by allocation_id, hour_start_at

),

-- One step per plan: what is left of each usage, and what the plan of the step takes of it.
applied as (

    select
        on_demand.allocation_id,
        on_demand.hour_start_at,
        cast(0 as bigint) as plan_number,
        last_candidates.last_plan_number,
        on_demand.gpu_hours as left_gpu_hours,
        cast(null as varchar) as commitment_id,
        cast(null as decimal(18, 8)) as rate_usd_per_gpu_hour,
        cast(0 as decimal(18, 6)) as taken_gpu_hours
    from on_demand
    inner join last_candidates
        on
            on_demand.allocation_id = last_candidates.allocation_id
            and on_demand.hour_start_at = last_candidates.hour_start_at

    union all

    select
        queued.allocation_id,
        queued.hour_start_at,
        queued.plan_number,
        queued.last_plan_number,
        cast(queued.left_gpu_hours - queued.taken_gpu_hours as decimal(18, 6)) as left_gpu_hours,
        queued.commitment_id,
        queued.rate_usd_per_gpu_hour,
        queued.taken_gpu_hours
    from (
        select
            ranked.*,
            cast(
                case
                    when ranked.commitment_id is null or ranked.left_usd <= 0 then 0
                    when ranked.cost_usd <= ranked.left_usd then ranked.left_gpu_hours
                    else {{ affordable_hours("ranked.left_usd", "ranked.rate_usd_per_gpu_hour") }}
                end as decimal(18, 6)
            ) as taken_gpu_hours
        from (
            select
                costed.*,
                costed.promised_usd - (
                    sum(costed.cost_usd) over (
                        partition by costed.commitment_id, costed.hour_start_at
                        order by
                            costed.paid_ratio asc nulls last,
                            costed.rate_usd_per_gpu_hour asc,
                            costed.allocation_position asc
                        rows between unbounded preceding and current row
                    ) - costed.cost_usd
                ) as left_usd
            from (
                select
                    applied.allocation_id,
                    applied.hour_start_at,
                    applied.plan_number + 1 as plan_number,
                    applied.last_plan_number,
                    applied.left_gpu_hours,
                    candidates.commitment_id,
                    candidates.allocation_position,
                    candidates.promised_usd,
                    candidates.rate_usd_per_gpu_hour,
                    candidates.paid_ratio,
                    {{ usd_amount("applied.left_gpu_hours", "candidates.rate_usd_per_gpu_hour") }} as cost_usd
                from applied
                left join candidates
                    on
                        applied.allocation_id = candidates.allocation_id
                        and applied.hour_start_at = candidates.hour_start_at
                        and applied.plan_number + 1 = candidates.plan_number
                where applied.plan_number < applied.last_plan_number
            ) as costed
        ) as ranked
    ) as queued

),

final as (

    select
        allocation_id,
        commitment_id,
        hour_start_at,
        taken_gpu_hours as gpu_hours,
        rate_usd_per_gpu_hour
    from applied
    where taken_gpu_hours > 0

)

select * from final
