-- Engines name alike things differently, and over their releases: each exposed name gets the ledger's own
-- here and only here, by the seeds engine_metrics and engine_metric_prefixes. A sample that counts for two
-- quantities (what a cache held is part of the prompt) gives two rows.

with source as (

    select * from {{ source("raw", "metric_samples") }}

),

engine_metrics as (

    select * from {{ ref("engine_metrics") }}

),

engine_metric_prefixes as (

    select * from {{ ref("engine_metric_prefixes") }}

),

named_values as (

    select
        engine,
        metric_name,
        ',' || {{ dbt.listagg("label_value", "','") }} || ',' as label_values
    from engine_metrics
    where label_value <> '*'
    group by engine, metric_name

),

meanings as (

    select
        coalesce(engine_metric_prefixes.prefix, '') || engine_metrics.metric_name as metric_name,
        coalesce(engine_metrics.label_value, '*') as label_value,
        coalesce(named_values.label_values, '') as named_values,
        engine_metrics.usage_metric,
        engine_metrics.preference,
        case engine_metrics.unit
            when 'milliseconds' then cast(0.001 as double)
            when 'microseconds' then cast(0.000001 as double)
            else cast(1 as double)
        end as units
    from engine_metrics
    inner join engine_metric_prefixes on engine_metrics.engine = engine_metric_prefixes.engine
    left join named_values
        on
            engine_metrics.engine = named_values.engine
            and engine_metrics.metric_name = named_values.metric_name

),

final as (

    select
        -- series
        source.source_name,
        source.replica_key,
        {{ without_shard_ranks("coalesce(source.engine, '')") }} as engine,
        coalesce(source.model_name, '') as model_name,
        source.metric_name,
        coalesce(source.label_value, '') as label_value,
        coalesce(meanings.usage_metric, 'other') as usage_metric,
        coalesce(meanings.preference, 1) as preference,

        -- A decimal, because sums of doubles depend on the order of rows; counters are whole, times keep
        -- microseconds.
        {{ decimal_of_double("(source.value * coalesce(meanings.units, 1))") }} as counter_value,

        source.scraped_at,
        source.series_created_at,
        source.process_started_at,
        source.usage_date,
        source.file_id
    from source
    left join meanings
        on
            source.metric_name = meanings.metric_name
            and case
                when meanings.label_value = '*'
                    then
                        meanings.named_values = ''
                        or position(
                            ',' || {{ dbt.split_part("coalesce(source.label_value, '')", "','", 1) }} || ','
                            in meanings.named_values
                        ) = 0
                else meanings.label_value = {{ dbt.split_part("source.label_value", "','", 1) }}
            end

)

select * from final
