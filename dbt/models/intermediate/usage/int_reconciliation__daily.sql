{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_date", "window_of": "usage"},
) }}

{%- set tokens = {"prompt_tokens": "prompt", "cached_tokens": "cached_input", "output_tokens": "output"} %}
{%- set parts = [
    "aborted", "crash_tail", "repeated_prompts", "missing_usage", "failed_calls", "duplicates",
    "gateway_cache", "counted_differently", "not_in_log", "not_in_engine_records", "hours_without_counters",
] %}
-- Two sources on the same day, and why they differ. A difference between counters and a gateway or client is
-- taken in two steps where the engine's own records lie between: counters less records (calls that the engine
-- never finished) and records less what others were told, call by call where ids are shared. What these steps
-- do not name is unexplained.
with usage_hours as (

    select
        *,
        {{ day_of("usage_hour_at") }} as usage_date
    from {{ ref("int_usage__hourly") }}
    {{ in_usage_window("usage_hour_at") }}

),

request_usage as (

    select * from {{ ref("int_request_usage__hourly") }}
    {{ in_usage_window("usage_hour_at") }}

),

matched_calls as (

    select * from {{ ref("int_calls__matched_daily") }}
    {{ in_usage_window("usage_date") }}

),

routes as (

    select * from {{ ref("int_usage_routes__resolved") }}
    where deployment is not null

),

tolerances as (

    select * from {{ ref("reconciliation_tolerances") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

counter_days as (

    select
        deployment,
        usage_date,
        cast(sum(input_tokens + coalesce(cached_input_tokens, 0)) as bigint) as prompt_tokens,
        cast(sum(cached_input_tokens) as bigint) as cached_tokens,
        cast(sum(output_tokens) as bigint) as output_tokens,
        cast(sum(request_count) as bigint) as requests,
        coalesce(sum(reset_count), 0) > 0 as has_restart
    from usage_hours
    where usage_basis = 'engine_counters'
    group by deployment, usage_date

),

-- Hours whose volume is that of calls, for want of a counter.
uncounted_hours as (

    select
        deployment,
        usage_hour_at
    from usage_hours
    where usage_basis <> 'engine_counters'

),

request_days as (

    select
        routes.deployment,
        {{ day_of("request_usage.usage_hour_at") }} as usage_date,
        routes.role,
        {%- for measure, class in tokens.items() %}
            cast(sum(request_usage.{{ class }}_tokens) as bigint) as {{ measure }},
            cast(sum(request_usage.dropped_{{ class }}_tokens) as bigint) as duplicates_{{ measure }},
            cast(sum(request_usage.gateway_cache_{{ class }}_tokens) as bigint)
                as gateway_cache_{{ measure }},
            cast(0 as bigint) as failed_calls_{{ measure }},
            cast(
                sum(
                    case when uncounted_hours.deployment is not null then request_usage.{{ class }}_tokens end
                ) as bigint
            ) as uncounted_{{ measure }},
        {%- endfor %}
        cast(sum(request_usage.request_count) as bigint) as requests,
        sum(
            request_usage.call_count
            - request_usage.failed_count
            - request_usage.missing_token_count
            - request_usage.gateway_cache_count
        ) as stated_count,
        sum(request_usage.missing_token_count) as missing_count,
        cast(sum(request_usage.dropped_duplicate_count) as bigint) as duplicates_requests,
        cast(sum(request_usage.gateway_cache_count) as bigint) as gateway_cache_requests,
        cast(sum(request_usage.failed_count) as bigint) as failed_calls_requests,
        cast(
            sum(case when uncounted_hours.deployment is not null then request_usage.request_count end)
            as bigint
        ) as uncounted_requests
    from request_usage
    inner join run on request_usage.usage_hour_at < run.as_of_end_at
    inner join routes
        on
            request_usage.source_name = routes.source_name
            and request_usage.model_group = routes.model_group
            and request_usage.model = routes.model
    left join uncounted_hours
        on
            routes.deployment = uncounted_hours.deployment
            and request_usage.usage_hour_at = uncounted_hours.usage_hour_at
    group by routes.deployment, {{ day_of("request_usage.usage_hour_at") }}, routes.role

),

-- One row per deployment, day, role and measure. `counted` is what counts as volume, `stated` what the rows
-- of the source sum to as they stand.
role_values as (

    {% for measure in tokens.keys() | list + ["requests"] %}
        select
            deployment,
            usage_date,
            'engine_counters' as role,
            '{{ measure }}' as measure,
            {{ measure }} as counted,
            {{ measure }} as stated,
            cast(0 as bigint) as duplicates,
            cast(0 as bigint) as gateway_cache,
            cast(0 as bigint) as failed_calls,
            cast(0 as bigint) as uncounted
        from counter_days

        union all

        select
            deployment,
            usage_date,
            role,
            '{{ measure }}' as measure,
            {{ measure }} as counted,
            {{ measure }}
            + duplicates_{{ measure }}
            + gateway_cache_{{ measure }}
            + failed_calls_{{ measure }} as stated,
            duplicates_{{ measure }} as duplicates,
            gateway_cache_{{ measure }} as gateway_cache,
            failed_calls_{{ measure }} as failed_calls,
            coalesce(uncounted_{{ measure }}, 0) as uncounted
        from request_days
        {% if not loop.last %}union all{% endif %}
    {% endfor %}

),

-- Counters less the engine's records. Where the engine finished as many requests as it has records (to one in
-- a thousand: some finish after midnight), the records are complete, and what the counters hold more is the
-- work of requests that it never finished. Where it holds less on a day of a restart, the counters lost the
-- tail.
engine_gaps as (

    select
        counters.deployment,
        counters.usage_date,
        counters.measure,
        counters.counted - (records.counted - records.uncounted) as gap,
        -records.uncounted as hours_without_counters,
        counter_days.has_restart,
        1000
        * abs(counter_days.requests - request_days.requests + coalesce(request_days.uncounted_requests, 0))
        <= counter_days.requests as is_complete
    from role_values as counters
    inner join role_values as records
        on
            counters.deployment = records.deployment
            and counters.usage_date = records.usage_date
            and counters.measure = records.measure
            and records.role = 'engine_requests'
    inner join counter_days
        on
            counters.deployment = counter_days.deployment
            and counters.usage_date = counter_days.usage_date
    inner join request_days
        on
            counters.deployment = request_days.deployment
            and counters.usage_date = request_days.usage_date
            and request_days.role = 'engine_requests'
    where counters.role = 'engine_counters'

),

engine_steps as (

    select
        deployment,
        usage_date,
        measure,
        case when measure <> 'requests' and gap > 0 and is_complete then gap else 0 end as aborted,
        case when gap < 0 and has_restart then gap else 0 end as crash_tail,
        hours_without_counters
    from engine_gaps
    where gap is not null

),

matched_days as (

    select
        matched_calls.deployment,
        matched_calls.usage_date,
        matched_calls.role,
        -- Ids are shared where most calls that state tokens are found among the engine's records.
        coalesce(sum(case when matched_calls.outcome = 'stated' then matched_calls.call_count end), 0) * 2
        >= max(request_days.stated_count) as has_shared_ids,
        {%- for measure, class in tokens.items() %}
            -- What each answer generates is told of; the prompt is told once.
            coalesce(
                sum(
                    case
                        when matched_calls.outcome = 'stated'
                            then {{ "0" if class == "output" else "matched_calls.further_%s_tokens" % class }}
                    end
                ),
                0
            ) as repeated_prompts_{{ measure }},
            {%- for outcome, part in {"missing": "missing_usage", "failed": "failed_calls"}.items() %}
                coalesce(
                    sum(
                        case
                            when matched_calls.outcome = '{{ outcome }}'
                                then matched_calls.engine_{{ class }}_tokens
                        end
                    ),
                    0
                ) as {{ part }}_{{ measure }},
            {%- endfor %}
            coalesce(
                sum(
                    case
                        when matched_calls.outcome = 'stated'
                            then matched_calls.engine_{{ class }}_tokens - matched_calls.{{ class }}_tokens
                    end
                ),
                0
            ) as matched_gap_{{ measure }},
            coalesce(max(request_days.{{ measure }}), 0)
            - coalesce(
                sum(case when matched_calls.outcome = 'stated' then matched_calls.{{ class }}_tokens end), 0
            ) as unmatched_{{ measure }},
            0 as never_finished_{{ measure }},
            coalesce(sum(matched_calls.engine_{{ class }}_tokens), 0) as engine_{{ measure }},
        {%- endfor %}
        coalesce(
            sum(
                case
                    when matched_calls.outcome in ('stated', 'missing')
                        then matched_calls.engine_request_count - matched_calls.call_count
                end
            ),
            0
        ) as repeated_prompts_requests,
        0 as missing_usage_requests,
        coalesce(
            sum(case when matched_calls.outcome = 'failed' then matched_calls.engine_request_count end), 0
        ) as failed_calls_requests,
        coalesce(
            sum(
                case
                    when matched_calls.outcome in ('stated', 'missing')
                        then matched_calls.engine_request_count - matched_calls.call_count
                end
            ),
            0
        ) as matched_gap_requests,
        max(request_days.stated_count)
        - coalesce(sum(case when matched_calls.outcome = 'stated' then matched_calls.call_count end), 0)
            as unmatched_requests,
        max(request_days.missing_count)
        - coalesce(sum(case when matched_calls.outcome = 'missing' then matched_calls.call_count end), 0)
            as never_finished_requests,
        coalesce(sum(matched_calls.engine_request_count), 0) as engine_requests
    from matched_calls
    inner join request_days
        on
            matched_calls.deployment = request_days.deployment
            and matched_calls.usage_date = request_days.usage_date
            and matched_calls.role = request_days.role
    group by matched_calls.deployment, matched_calls.usage_date, matched_calls.role

),

-- The engine's records less what a gateway or client was told. Parts sum to the step exactly.
told_steps as (

    {% for measure in tokens.keys() | list + ["requests"] %}
        select
            matched_days.deployment,
            matched_days.usage_date,
            matched_days.role,
            '{{ measure }}' as measure,
            matched_days.repeated_prompts_{{ measure }} as repeated_prompts,
            matched_days.missing_usage_{{ measure }} as missing_usage,
            matched_days.failed_calls_{{ measure }} as failed_calls,
            matched_days.matched_gap_{{ measure }} - matched_days.repeated_prompts_{{ measure }}
                as counted_differently,
            -matched_days.never_finished_{{ measure }} as aborted,
            -matched_days.unmatched_{{ measure }} as not_in_engine_records,
            records.counted - matched_days.engine_{{ measure }} as not_in_log
        from matched_days
        inner join role_values as records
            on
                matched_days.deployment = records.deployment
                and matched_days.usage_date = records.usage_date
                and records.role = 'engine_requests'
                and records.measure = '{{ measure }}'
        where matched_days.has_shared_ids and records.counted is not null
        {% if not loop.last %}union all{% endif %}
    {% endfor %}

),

deployment_roles as (

    select distinct
        deployment,
        role
    from routes

),

-- Pairs of roles that the ledger sends to a deployment, on days on which either says something.
pair_days as (

    select distinct
        role_values.deployment,
        role_values.usage_date,
        role_values.measure,
        tolerances.left_role,
        tolerances.right_role
    from role_values
    inner join tolerances on role_values.role in (tolerances.left_role, tolerances.right_role)
    inner join deployment_roles as left_roles
        on role_values.deployment = left_roles.deployment and tolerances.left_role = left_roles.role
    inner join deployment_roles as right_roles
        on role_values.deployment = right_roles.deployment and tolerances.right_role = right_roles.role

),

compared as (

    select
        pair_days.*,
        left_values.stated as left_value,
        right_values.stated as right_value,
        left_values.stated - right_values.stated as difference,
        counter_days.has_restart,
        coalesce(left_values.duplicates, 0) - coalesce(right_values.duplicates, 0) as duplicates,
        coalesce(left_values.gateway_cache, 0) - coalesce(right_values.gateway_cache, 0) as gateway_cache,
        coalesce(left_values.failed_calls, 0) - coalesce(right_values.failed_calls, 0) as failed_calls,
        -- Which steps lead from left to right.
        pair_days.left_role = 'engine_counters'
        and engine_steps.deployment is not null
        and (pair_days.right_role = 'engine_requests' or told_steps.deployment is not null)
            as has_engine_step,
        pair_days.left_role in ('engine_counters', 'engine_requests')
        and told_steps.deployment is not null
        and (pair_days.left_role = 'engine_requests' or engine_steps.deployment is not null) as has_told_step,
        engine_steps.aborted as engine_aborted,
        engine_steps.crash_tail as engine_crash_tail,
        engine_steps.hours_without_counters as engine_hours_without_counters,
        right_values.uncounted as right_uncounted,
        left_values.counted - (right_values.counted - right_values.uncounted) as direct_gap,
        told_steps.repeated_prompts,
        told_steps.missing_usage,
        told_steps.failed_calls as told_failed_calls,
        told_steps.counted_differently,
        told_steps.aborted as told_aborted,
        told_steps.not_in_engine_records,
        told_steps.not_in_log
    from pair_days
    left join role_values as left_values
        on
            pair_days.deployment = left_values.deployment
            and pair_days.usage_date = left_values.usage_date
            and pair_days.measure = left_values.measure
            and pair_days.left_role = left_values.role
    left join role_values as right_values
        on
            pair_days.deployment = right_values.deployment
            and pair_days.usage_date = right_values.usage_date
            and pair_days.measure = right_values.measure
            and pair_days.right_role = right_values.role
    left join counter_days
        on
            pair_days.deployment = counter_days.deployment
            and pair_days.usage_date = counter_days.usage_date
    left join engine_steps
        on
            pair_days.deployment = engine_steps.deployment
            and pair_days.usage_date = engine_steps.usage_date
            and pair_days.measure = engine_steps.measure
    left join told_steps
        on
            pair_days.deployment = told_steps.deployment
            and pair_days.usage_date = told_steps.usage_date
            and pair_days.measure = told_steps.measure
            and pair_days.right_role = told_steps.role

),

explained as (

    select
        deployment,
        usage_date,
        left_role,
        right_role,
        measure,
        left_value,
        right_value,
        difference,
        case
            when left_value is null and right_value is null then 'neither_states_it'
            when left_value is null then 'left_states_nothing'
            when right_value is null then 'right_states_nothing'
        end as null_reason,
        case when has_engine_step then engine_aborted else 0 end
        + case when has_told_step then told_aborted else 0 end as aborted,
        case
            when has_engine_step then engine_crash_tail
            when left_role = 'engine_counters' and direct_gap < 0 and has_restart then direct_gap
            else 0
        end
        + case when has_told_step and has_restart then not_in_engine_records else 0 end as crash_tail,
        case when has_told_step then repeated_prompts else 0 end as repeated_prompts,
        case when has_told_step then missing_usage else 0 end as missing_usage,
        failed_calls + case when has_told_step then told_failed_calls else 0 end as failed_calls,
        duplicates,
        gateway_cache,
        case when has_told_step then counted_differently else 0 end as counted_differently,
        case when has_told_step then not_in_log else 0 end as not_in_log,
        case
            when has_told_step and not coalesce(has_restart, false) then not_in_engine_records else 0
        end as not_in_engine_records,
        case
            when has_engine_step then engine_hours_without_counters
            when left_role = 'engine_counters' then -right_uncounted
            else 0
        end as hours_without_counters
    from compared

),

final as (

    select
        deployment,
        usage_date,
        left_role,
        right_role,
        measure,
        cast(left_value as bigint) as left_value,
        cast(right_value as bigint) as right_value,
        cast(difference as bigint) as difference,
        null_reason,
        {%- for part in parts %}
            cast(case when difference is not null then {{ part }} end as bigint) as {{ part }}_difference,
        {%- endfor %}
        cast(
            difference
            {%- for part in parts %}
                - {{ part }}
            {%- endfor %} as bigint
        ) as unexplained_difference
    from explained

)

select * from final
