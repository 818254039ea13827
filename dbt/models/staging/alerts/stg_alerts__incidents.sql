with source as (

    select * from {{ source("raw", "alert_incidents") }}

),

final as (

    select
        incident_id,
        kind,
        rule_id,
        subject,
        segment,
        direction,
        cause,
        severity,
        state,
        parent_incident_id,
        child_count,
        finding_count,
        impact_usd_per_day,
        exposed_usd_per_day,
        title,
        text,
        evidence_sql,
        first_seen_at,
        last_seen_at,
        opened_at,
        resolved_at,
        reopened_count,
        acknowledged_at,
        acknowledged_by,
        muted_until_at,
        muted_by,
        note,
        told_at,
        told_count,
        delivered_at,
        delivered_to,
        delivery_problem
    from source

)

select * from final
