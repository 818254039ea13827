-- A word that no seed knows must be seen by somebody; it stops nothing.
{{ config(severity="warn") }}
select
    kind,
    source,
    raw_value
from {{ ref("fct_unmapped_prices") }}
where is_open
