{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "charge_from_at", "window_of": "costs"},
) }}

with lines as (

    select * from {{ ref("stg_billing__lines") }}
    {{ in_costs_window("charge_from_at") }}

),

sources as (

    select * from {{ ref("stg_ledger__billing_sources") }}

),

provider_names as (

    select * from {{ ref("billing_provider_names") }}

),

instance_types as (

    select * from {{ ref("instance_types") }}

),

exchange_rates as (

    select * from {{ ref("int_exchange_rates") }}

),

-- A source that ledger.yaml no longer names is no bill of ours.
named as (

    select
        lines.*,
        coalesce(sources.provider, provider_names.provider, lower(lines.provider_raw), 'aws') as provider
    from lines
    inner join sources on lines.source_name = sources.source_name and lines.kind = sources.kind
    left join provider_names on lower(lines.provider_raw) = provider_names.provider_raw

),

-- Multiplies rows on purpose: each word of what a line says of itself may be the name of an instance type
-- (BoxUsage:p5.48xlarge; "$55.04 per On Demand Linux p5.48xlarge Instance Hour").
said as (

    select distinct
        provider,
        instance_type_raw,
        usage_type_raw,
        description_raw
    from named

),

words as (

    {{ words_of("said", ["instance_type_raw", "usage_type_raw", "description_raw"]) }}

),

recognised as (

    select
        words.said_key,
        words.provider,
        instance_types.instance_type,
        instance_types.gpu_model,
        instance_types.gpu_count,
        row_number() over (
            partition by words.said_key, words.provider
            order by words.word_rank, words.word_position, instance_types.instance_type
        ) as match_rank
    from words
    inner join instance_types
        on
            words.provider = instance_types.provider
            and words.word = lower(instance_types.instance_type)

),

priced as (

    select
        named.*,
        recognised.instance_type,
        recognised.gpu_model,
        recognised.gpu_count,
        case when named.currency = 'USD' then 1 else exchange_rates.usd_per_unit end as usd_per_unit,
        -- Effective cost is the truth, where it is stated. Exports exist whose column is filled with zeros
        -- (the public FOCUS 1.0 sample: 931 of 942 AWS lines): of what no commitment covers the billed cost
        -- is the same by definition; of the rest nothing is known.
        case
            when named.charge_type <> 'usage' or named.effective_amount <> 0 then named.effective_amount
            when coalesce(named.list_amount, 0) <= 0 then named.effective_amount
            when named.pricing_category <> 'Committed' and named.billed_amount <> 0 then named.billed_amount
        end as stated_amount,
        coalesce(
            named.charge_type = 'usage' and named.effective_amount = 0 and named.list_amount > 0, false
        ) as is_effective_cost_missing
    from named
    left join recognised
        on
            named.provider = recognised.provider
            and {{ said_key("named") }} = recognised.said_key
            and recognised.match_rank = 1
    left join exchange_rates
        on
            named.currency = exchange_rates.currency
            and {{ day_of("named.charge_from_at") }} >= exchange_rates.rate_date
            and {{ day_of("named.charge_from_at") }} < exchange_rates.valid_until_date

),

final as (

    select
        source_name,
        kind,
        billing_period,
        has_invoice,
        charge_type,
        is_correction,
        provider,
        coalesce(region, 'global') as region,
        resource_id,
        deployment_tag,
        instance_type,
        gpu_model,
        pricing_category,
        commitment_id,
        commitment_kind,
        charge_from_at,
        charge_to_at,
        currency,
        usd_per_unit,
        is_effective_cost_missing,
        -- Google bills a machine by its parts: the hours of its GPUs are GPU-hours, those of cores and memory
        -- are none. All others bill hours of the machine, Oracle those of its GPUs.
        cast(
            case
                when quantity_unit is null or quantity_unit like '%hour%' or quantity_unit like '%hrs%'
                    then
                        case
                            when provider = 'gcp' and lower(description_raw) like '%gpu%' then quantity
                            when provider = 'gcp' then 0
                            when quantity_unit like '%gpu%' then quantity
                            else quantity * gpu_count
                        end
            end as decimal(18, 6)
        ) as gpu_hours,
        {{ billed_usd("billed_amount") }} as billed_usd,
        {{ billed_usd("stated_amount") }} as effective_usd,
        {{ billed_usd("list_amount") }} as list_usd,
        {{ billed_usd("contracted_amount") }} as contracted_usd
    from priced

)

select * from final
