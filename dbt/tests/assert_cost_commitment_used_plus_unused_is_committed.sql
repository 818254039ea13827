-- Used and unused GPU-hours are the committed ones; so are their costs, but for rounding in the tenth
-- decimal.
select
    commitment_id,
    hour_start_at
from {{ ref("int_commitments__hourly") }}
where
    used_gpu_hours + unused_gpu_hours <> committed_gpu_hours
    or abs(
        used_cost_usd
        + modelled_unused_cost_usd
        - {{ usd_amount("committed_gpu_hours", "rate_usd_per_gpu_hour") }}
    ) > 0.00000001
