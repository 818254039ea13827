{%- set parts = [
    "aborted", "crash_tail", "repeated_prompts", "missing_usage", "failed_calls", "duplicates",
    "gateway_cache", "counted_differently", "not_in_log", "not_in_engine_records",
    "hours_without_counters", "unexplained",
] %}
with reconciled as (

    select * from {{ ref("int_reconciliation__daily") }}

),

tolerances as (

    select * from {{ ref("reconciliation_tolerances") }}

),

final as (

    select
        reconciled.usage_date,
        reconciled.deployment,
        reconciled.left_role,
        reconciled.right_role,
        reconciled.measure,
        reconciled.left_value,
        reconciled.right_value,
        reconciled.difference,
        cast({{ ratio("reconciled.right_value", "reconciled.left_value") }} as decimal(28, 8))
            as right_to_left_ratio,
        {%- for part in parts %}
            reconciled.{{ part }}_difference,
        {%- endfor %}
        -- The largest part; of equals the first.
        case
            when reconciled.difference is null or reconciled.difference = 0 then null
            {%- for part in parts %}
                when
                    abs(reconciled.{{ part }}_difference) = greatest(
                        {%- for other in parts %}
                            abs(reconciled.{{ other }}_difference){% if not loop.last %},{% endif %}
                        {%- endfor %}
                    )
                    then '{{ part }}'
            {%- endfor %}
        end as explained_by,
        case
            when reconciled.difference is not null
                then
                    reconciled.unexplained_difference
                    >= -tolerances.max_shortfall_ratio
                    * greatest(reconciled.left_value, reconciled.right_value)
                    and (
                        tolerances.max_excess_ratio is null
                        or reconciled.unexplained_difference
                        <= tolerances.max_excess_ratio * reconciled.left_value
                    )
        end as is_within_tolerance,
        reconciled.null_reason
    from reconciled
    inner join tolerances
        on
            reconciled.left_role = tolerances.left_role
            and reconciled.right_role = tolerances.right_role

)

select * from final
