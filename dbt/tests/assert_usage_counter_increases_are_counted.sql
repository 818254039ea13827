-- Every token that a counter increased by is in an hour of a deployment or listed as unmapped.
with increases as (

    select coalesce(sum(delta), 0) as tokens
    from {{ ref("int_counter_deltas") }}
    where usage_metric in ('prompt_tokens', 'output_tokens')

),

mapped as (

    select coalesce(sum(coalesce(prompt_tokens, 0) + coalesce(output_tokens, 0)), 0) as tokens
    from {{ ref("int_engine_usage__hourly") }}

),

engines as (

    select distinct source_name from {{ ref("int_counter_deltas") }}

),

unmapped as (

    select coalesce(sum(unmapped_usage.total_tokens), 0) as tokens
    from {{ ref("int_usage_unmapped") }} as unmapped_usage
    inner join engines on unmapped_usage.source_name = engines.source_name

)

select
    increases.tokens,
    mapped.tokens as mapped_tokens,
    unmapped.tokens as unmapped_tokens
from increases
cross join mapped
cross join unmapped
where increases.tokens <> mapped.tokens + unmapped.tokens
