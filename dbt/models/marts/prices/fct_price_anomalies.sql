with findings as (

    select * from {{ ref("int_price_findings") }}

),

final as (

    select
        finding_id,
        rule_id,
        layer,
        severity,
        action,
        provider,
        source,
        dataset,
        series_id,
        series_count,
        price_key,
        instance_type,
        region,
        gpu_model,
        pricing_model,
        term_months,
        payment_option,
        observed,
        expected,
        ratio,
        measure,
        likely_cause,
        is_open,
        first_seen_at,
        last_seen_at,
        snapshot_id,
        case
            when action = 'quarantined'
                then
                    subject || ': ' || explanation
                    || ' Held back: the last accepted price, if there is one, stays in force.'
            else subject || ': ' || explanation
        end as details
    from findings

)

select * from final
