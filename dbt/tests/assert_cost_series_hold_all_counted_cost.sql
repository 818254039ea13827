-- The series of each kind share out the same cost and volume: of the whole fleet, no more and no less.
with kinds as (

    select
        usage_date,
        measure,
        series_kind,
        sum(cost_usd) as cost_usd,
        sum(volume) as volume
    from {{ ref("int_cost_series__daily") }}
    group by usage_date, measure, series_kind

)

select
    usage_date,
    measure
from kinds
group by usage_date, measure
having min(cost_usd) <> max(cost_usd) or min(volume) <> max(volume)
