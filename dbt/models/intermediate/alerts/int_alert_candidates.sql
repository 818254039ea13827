{{ config(tags=["after_drift"]) }}

-- Everything that may have to be told, whatever found it. A further source is a model with these columns and
-- a line here.
{%- set sources = [
    "bills",
    "drift",
    "freshness",
    "hours",
    "price_words",
    "prices",
    "reconciliation",
    "unmapped_names",
    "unmapped_replicas",
    "unmapped_usage",
    "usage_anomalies",
] %}

with final as (
    {% for source in sources %}
        select
            kind,
            rule_id,
            subject,
            segment,
            direction,
            cause,
            group_key,
            feed,
            is_feed_fault,
            impact_usd_per_day,
            exposed_usd_per_day,
            blocked_hours,
            finding_count,
            first_seen_at,
            last_seen_at,
            headline,
            explanation,
            data_state,
            evidence_sql
        from {{ ref("int_alert_candidates__" ~ source) }}
        {{ "union all" if not loop.last }}
    {% endfor %}
)

select * from final
