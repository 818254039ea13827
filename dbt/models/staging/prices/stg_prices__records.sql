-- Words are given their meaning here and only here: what each source calls a purchase option, a term, a
-- unit, a region. A word that the seeds do not list leaves a null, which becomes a finding; it is never
-- guessed.

with loads as (

    select * from {{ source("raw", "price_loads") }}

),

versions as (

    select * from {{ source("raw", "price_records") }}

),

-- Multiplies rows on purpose: a version of a record stands for each load that has it. A filter on snapshot_id
-- or fetched_at reaches the loads, so that a few days cost a few days.
source as (

    select
        versions.*,
        loads.snapshot_id,
        loads.fetched_at,
        loads.source_url as snapshot_url
    from loads
    inner join versions
        on
            loads.source = versions.source
            and loads.dataset = versions.dataset
            and loads.load_number >= versions.first_load_number
            and loads.load_number <= coalesce(versions.last_load_number, 9223372036854775807)

),

price_sources as (

    select * from {{ ref("price_sources") }}

),

pricing_terms as (

    select * from {{ ref("pricing_terms") }}

),

price_units as (

    select * from {{ ref("price_units") }}

),

region_names as (

    select * from {{ ref("region_names") }}

),

provider_names as (

    select * from {{ ref("provider_names") }}

),

final as (

    select
        -- ids
        source.snapshot_id,
        source.record_number,
        cast(source.content_id as varchar) as content_id,
        md5(
            concat_ws(
                '|',
                source.source,
                source.dataset,
                source.sku_id,
                coalesce(source.instance_type, ''),
                source.region_raw,
                coalesce(source.zone_raw, ''),
                source.pricing_model_raw,
                coalesce(source.term_raw, ''),
                coalesce(source.offering_class_raw, ''),
                coalesce(source.payment_option_raw, ''),
                coalesce(source.operating_system_raw, ''),
                coalesce(source.tenancy_raw, '')
            )
        ) as series_id,
        source.source,
        source.dataset,
        coalesce(
            provider_names.provider, lower(source.provider_raw), price_sources.provider, source.source
        ) as provider,
        source.provider_raw,
        source.sku_id,
        source.offer_id,

        -- what is sold
        source.instance_type,
        coalesce(
            case price_sources.price_key_from
                when 'sku_id' then source.sku_id
                when 'gpu_name' then source.gpu_name_raw
            end,
            source.instance_type,
            source.gpu_name_raw,
            source.sku_id
        ) as price_key,
        source.gpu_name_raw,
        source.gpu_count_raw,
        source.gpu_memory_gb_raw,
        coalesce(region_names.region, source.region_raw) as region,
        source.zone_raw as zone_name,
        source.operating_system_raw as operating_system,
        source.tenancy_raw as tenancy,

        -- how it is sold
        source.pricing_model_raw,
        source.term_raw,
        pricing_terms.pricing_model,
        pricing_terms.pricing_category,
        pricing_terms.term_months,
        coalesce(pricing_terms.market_tier, '') as market_tier,
        coalesce(pricing_terms.market_tier, lower(source.offering_class_raw), '') as offer_tier,
        lower(replace(source.payment_option_raw, ' ', '_')) as payment_option,

        -- for how much
        source.price_amount,
        source.price_currency,
        source.price_unit_raw,
        price_units.price_basis,
        case
            when price_units.price_basis in ('instance_term_total', 'instance_upfront')
                then {{ term_hours("pricing_terms.term_months") }}
            when price_units.price_basis is not null then 1
        end as hours_covered,
        -- Nobody asked for another currency than the declared one: it is a sign of the wrong feed, and not
        -- converted.
        price_sources.declared_currency in (source.price_currency, 'any') as is_declared_currency,

        source.is_available,
        coalesce(source.source_url, source.snapshot_url) as source_url,
        source.effective_at,
        coalesce(source.effective_at > source.fetched_at, false) as is_announced,
        source.fetched_at
    from source
    left join price_sources on source.source = price_sources.source
    left join pricing_terms
        on
            source.source = pricing_terms.source
            and source.pricing_model_raw = pricing_terms.pricing_model_raw
            and coalesce(source.term_raw, '') = coalesce(pricing_terms.term_raw, '')
    left join price_units
        on
            source.source = price_units.source
            and source.pricing_model_raw = price_units.pricing_model_raw
            and source.price_unit_raw = price_units.price_unit_raw
    left join region_names
        on
            source.source = region_names.source
            and source.region_raw = region_names.region_raw
    left join provider_names
        on
            source.source = provider_names.source
            and source.provider_raw = provider_names.provider_raw

)

select * from final
