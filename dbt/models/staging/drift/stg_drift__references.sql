{{ config(tags=["after_drift"]) }}

select
    series_kind,
    series,
    measure,
    usage_date,
    reference_date
from {{ source("raw", "cost_drift_references") }}
