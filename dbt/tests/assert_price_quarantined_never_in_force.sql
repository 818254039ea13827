-- No interval rests on an offer that a snapshot rule (L0 to L2) holds back: it is wrong whatever history
-- says.
select
    intervals.series_id,
    intervals.snapshot_id,
    observations.quarantine_rule_id
from {{ ref("int_gpu_price_intervals") }} as intervals
inner join {{ ref("int_price_observations") }} as observations
    on
        intervals.series_id = observations.series_id
        and intervals.snapshot_id = observations.snapshot_id
inner join {{ ref("price_rules") }} as price_rules on observations.quarantine_rule_id = price_rules.rule_id
where price_rules.layer in ('L0', 'L1', 'L2')
