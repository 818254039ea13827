{{ config(
    materialized="incremental",
    incremental_strategy="keep_window_snapshots",
    on_schema_change="fail",
) }}

-- What one snapshot says does not change with the next one: offers are worked out once. In a full refresh,
-- which follows a change of seed or SQL, all of history is.

-- depends_on: {{ ref('stg_prices__changes') }}
-- depends_on: {{ ref('stg_prices__fetches') }}
-- depends_on: {{ ref('stg_ledger__run') }}
{%- set snapshots -%}
    select snapshot_id from ({{ snapshots_to_judge() }}) as judged
    {% if is_incremental() -%}
        union
        select snapshot_id from {{ ref("int_price_snapshots") }}
        where
            snapshot_id not in (
                -- Other currencies are worth what they are worth by the rates known today.
                select known.snapshot_id from {{ this }} as known
                group by known.snapshot_id
                having min(known.price_currency) = 'USD' and max(known.price_currency) = 'USD'
            )
    {%- endif %}
{%- endset %}
{%- set names = run_query(snapshots).columns[0].values() if execute and is_incremental() else [] %}
with snapshots as (

    {{ snapshots }}

),

-- The first record of an offer describes it: one in force before one that is announced, the hourly part
-- before the upfront one. By content, for places in a file hang on which of two files was loaded first.
records as (

    select
        records.*,
        concat_ws(
            '|',
            case when records.is_announced then '1' else '0' end,
            coalesce(records.price_basis, 'unknown'),
            records.content_id
        ) as record_rank
    from {{ ref("stg_prices__records") }} as records
    inner join snapshots on records.snapshot_id = snapshots.snapshot_id
    {%- if names %}
        -- By name, too: a join does not reach the loads beneath the joins of that view, and all were spread out.
        where records.snapshot_id in ({% for name in names %}{{ text_literal(name) }}{{ ", " if not loop.last }}{% endfor %})
    {%- endif %}

),

instance_types as (

    select * from {{ ref("instance_types") }}

),

gpu_model_aliases as (

    select * from {{ ref("gpu_model_aliases") }}

),

gpu_model_aliases_by_memory as (

    select * from {{ ref("gpu_model_aliases_by_memory") }}

),

gpu_models as (

    select * from {{ ref("gpu_models") }}

),

gpu_memory_sizes as (

    select * from {{ ref("gpu_memory_sizes") }}

),

exchange_rates as (

    select * from {{ ref("int_exchange_rates") }}

),

provider_names as (

    select * from {{ ref("provider_names") }}

),

limits as (

    select threshold as max_usd_per_hour from {{ ref("price_rules") }}
    where rule_id = 'price_out_of_range'

),

-- Sources state the memory of one and the same GPU up to 7 % apart: 81,559 MiB, 79.6 and 80 GB are 80.
known_memory_sizes as (

    select
        stated_gb,
        gpu_memory_gb
    from gpu_memory_sizes

    union distinct

    select
        cast(gpu_memory_gb as decimal(18, 6)) as stated_gb,
        gpu_memory_gb
    from gpu_models

),

stated_memory_sizes as (

    select distinct
        gpu_memory_gb_raw,
        {{ stated_memory_gb("gpu_memory_gb_raw") }} as stated_gb
    from records
    where gpu_memory_gb_raw > 0

),

-- Multiplies rows: a stated size may lie near several known ones; the nearest is taken.
snapped_memory_sizes as (

    select
        stated_memory_sizes.gpu_memory_gb_raw,
        known_memory_sizes.gpu_memory_gb,
        row_number() over (
            partition by stated_memory_sizes.gpu_memory_gb_raw
            order by
                abs(stated_memory_sizes.stated_gb - known_memory_sizes.stated_gb),
                known_memory_sizes.gpu_memory_gb
        ) as size_rank
    from stated_memory_sizes
    inner join known_memory_sizes
        on
            abs(stated_memory_sizes.stated_gb - known_memory_sizes.stated_gb)
            <= 0.07 * known_memory_sizes.stated_gb

),

-- One row per component of an offer: AWS sells a reserved offer as a recurring and an upfront part.
components as (

    select
        records.snapshot_id,
        records.series_id,
        records.price_basis,
        min(records.record_rank) as first_record_rank,
        min(case when not records.is_announced then records.price_amount end) as price_amount,
        max(case when not records.is_announced then records.price_amount end) as max_price_amount,
        min(case when not records.is_announced then records.offer_id end) as offer_id,
        max(case when records.is_announced then records.price_amount end) as announced_price_amount,
        min(case when records.is_announced then records.effective_at end) as announced_at,
        min(case when records.is_declared_currency then 1 else 0 end) = 1 as is_declared_currency,
        count(
            case
                when records.is_announced then null
                when records.price_amount < coalesce(records.hours_covered, 1) * limits.max_usd_per_hour
                    then null
                else 1
            end
        ) > 0 as is_out_of_range
    from records
    cross join limits
    group by records.snapshot_id, records.series_id, records.price_basis

),

-- Amounts out of range are nulled before any arithmetic that they would overflow.
usable_components as (

    select
        *,
        case when not is_out_of_range then price_amount end as usable_amount
    from components

),

-- One row per offer.
offers as (

    select
        snapshot_id,
        series_id,
        min(first_record_rank) as first_record_rank,
        max(case when price_basis = 'instance_hour' then usable_amount end) as hourly_amount,
        max(case when price_basis = 'gpu_hour' then usable_amount end) as gpu_hour_amount,
        max(case when price_basis = 'instance_upfront' then usable_amount end) as upfront_amount,
        max(case when price_basis = 'instance_term_total' then usable_amount end) as term_total_amount,
        count(case when price_basis <> 'instance_upfront' then price_amount end) as running_price_count,
        max(announced_price_amount) as announced_price_amount,
        min(announced_at) as announced_at,
        count(price_amount) = 0 as is_only_announced,
        count(case when price_basis is null then price_amount end) > 0 as has_unknown_unit,
        count(case when not is_declared_currency then price_amount end) > 0 as has_other_currency,
        count(case when is_out_of_range then 1 end) > 0 as has_amount_out_of_range,
        count(case when price_amount <> max_price_amount then 1 end) > 0 or min(offer_id) <> max(offer_id)
            as has_conflict
    from usable_components
    group by snapshot_id, series_id

),

described_offers as (

    select
        offers.*,
        first_records.source,
        first_records.dataset,
        first_records.provider,
        first_records.sku_id,
        first_records.instance_type,
        first_records.price_key,
        first_records.region,
        first_records.zone_name,
        first_records.operating_system,
        first_records.tenancy,
        first_records.pricing_model,
        first_records.pricing_category,
        first_records.market_tier,
        first_records.offer_tier,
        first_records.term_months,
        first_records.payment_option,
        first_records.gpu_name_raw,
        first_records.gpu_count_raw,
        first_records.pricing_model_raw,
        first_records.term_raw,
        first_records.price_unit_raw,
        first_records.price_currency,
        first_records.source_url,
        first_records.effective_at,
        first_records.fetched_at,
        first_records.provider_raw,
        first_records.provider_raw is null or provider_names.provider is not null as is_provider_known,
        first_records.gpu_memory_gb_raw,
        snapped_memory_sizes.gpu_memory_gb as snapped_gpu_memory_gb,
        -- The day of the fetch has one rate, or none that is young enough.
        case
            when first_records.price_currency <> 'USD' then exchange_rates.usd_per_unit
            else cast(1 as decimal(18, 10))
        end as fx_rate_usd,
        exchange_rates.rate_date as fx_rate_date,
        instance_types.gpu_count as known_gpu_count,
        coalesce(
            instance_types.gpu_model,
            sku_aliases.gpu_model,
            name_aliases.gpu_model,
            aliases_by_memory.gpu_model,
            named_models.gpu_model
        ) as gpu_model,
        case
            -- A price per GPU without an instance type sells one GPU at a time.
            when first_records.instance_type is null and offers.gpu_hour_amount is not null then 1
            when instance_types.gpu_count is not null then instance_types.gpu_count
            -- No instance has thousands of GPUs: such a count is another quantity in the wrong field.
            when first_records.gpu_count_raw between 0.01 and 1000 then first_records.gpu_count_raw
        end as gpu_count
    from offers
    inner join records as first_records
        on
            offers.snapshot_id = first_records.snapshot_id
            and offers.series_id = first_records.series_id
            and offers.first_record_rank = first_records.record_rank
    left join instance_types
        on
            first_records.provider = instance_types.provider
            and first_records.instance_type = instance_types.instance_type
    left join gpu_model_aliases as sku_aliases
        on
            first_records.source = sku_aliases.source
            and first_records.sku_id = sku_aliases.raw_value
            and sku_aliases.match_on = 'sku_id'
    -- A name is listed either for one source or for all ('*'), never both: see the tests of the seed.
    left join gpu_model_aliases as name_aliases
        on
            name_aliases.source in (first_records.source, '*')
            and first_records.gpu_name_raw = name_aliases.raw_value
            and name_aliases.match_on = 'gpu_name'
    left join snapped_memory_sizes
        on
            first_records.gpu_memory_gb_raw = snapped_memory_sizes.gpu_memory_gb_raw
            and snapped_memory_sizes.size_rank = 1
    left join gpu_model_aliases_by_memory as aliases_by_memory
        on
            aliases_by_memory.source in (first_records.source, '*')
            and first_records.gpu_name_raw = aliases_by_memory.raw_value
            and snapped_memory_sizes.gpu_memory_gb = aliases_by_memory.gpu_memory_gb
    -- Who writes prices by hand may use our own names.
    left join gpu_models as named_models on first_records.gpu_name_raw = named_models.gpu_model
    left join exchange_rates
        on
            first_records.price_currency = exchange_rates.currency
            and {{ day_of("first_records.fetched_at") }} >= exchange_rates.rate_date
            and {{ day_of("first_records.fetched_at") }} < exchange_rates.valid_until_date
    left join provider_names
        on
            first_records.source = provider_names.source
            and first_records.provider_raw = provider_names.provider_raw

),

-- Which parts an offer must have follows from how it is paid. A missing part is never counted as nothing.
split_offers as (

    select
        *,
        case
            when payment_option = 'all_upfront' then 0
            when hourly_amount is not null then cast(hourly_amount as decimal(18, 8))
            when gpu_count = 1 then cast(gpu_hour_amount as decimal(18, 8))
            else cast({{ usd_amount("gpu_count", "gpu_hour_amount") }} as decimal(18, 8))
        end as recurring_native_per_instance_hour,
        case
            when payment_option in ('all_upfront', 'partial_upfront') then upfront_amount
            when term_total_amount is null then coalesce(upfront_amount, 0)
        end as upfront_native_per_instance,
        case
            when payment_option = 'all_upfront' then upfront_amount is not null
            when payment_option = 'partial_upfront'
                then upfront_amount is not null and hourly_amount is not null
            else coalesce(hourly_amount, gpu_hour_amount, term_total_amount) is not null
        end as is_complete,
        case
            when payment_option = 'all_upfront' then upfront_amount > 0
            when payment_option = 'partial_upfront' then upfront_amount > 0 and hourly_amount > 0
            else coalesce(hourly_amount, gpu_hour_amount, term_total_amount) > 0
        end as is_positive
    from described_offers

),

-- In the currency of the source; of a commitment, what an hour costs with its upfront part.
native_prices as (

    select
        *,
        case
            when term_total_amount is not null
                then {{ usd_rate("term_total_amount", term_hours("term_months")) }}
            when upfront_native_per_instance > 0
                then
                    recurring_native_per_instance_hour
                    + {{ usd_rate("upfront_native_per_instance", term_hours("term_months")) }}
            else recurring_native_per_instance_hour
        end as price_native_per_instance_hour,
        -- A series is compared over time at one rate, that of its first snapshot: what moves then is the
        -- provider's price.
        first_value(fx_rate_usd ignore nulls) over (
            partition by series_id
            order by fetched_at
            rows between unbounded preceding and unbounded following
        ) as first_fx_rate_usd
    from split_offers

),

unchecked_prices as (

    select
        *,
        {{ usd_at_rate("price_native_per_instance_hour", "fx_rate_usd") }}
            as unchecked_price_usd_per_instance_hour
    from native_prices

),

-- The reason is the rule_id of the finding that lists the offer; the first that applies explains the rest.
reasoned_prices as (

    select
        *,
        case
            when is_only_announced then 'price_not_in_force_yet'
            when pricing_model is null then 'unknown_pricing_words'
            when has_unknown_unit then 'unknown_price_unit'
            when has_other_currency then 'currency_mismatch'
            when has_conflict or running_price_count > 1 then 'conflicting_prices'
            when has_amount_out_of_range then 'price_out_of_range'
            when not is_complete then 'missing_component'
            when not is_positive then 'price_not_positive'
            when fx_rate_usd is null then 'no_exchange_rate'
            when unchecked_price_usd_per_instance_hour < 0.000001 then 'price_out_of_range'
            when unchecked_price_usd_per_instance_hour is null then 'missing_component'
        end as price_null_reason
    from unchecked_prices

),

identified_prices as (

    select
        reasoned_prices.*,
        gpu_models.variant as gpu_variant,
        gpu_models.gpu_memory_gb as model_gpu_memory_gb
    from reasoned_prices
    left join gpu_models on reasoned_prices.gpu_model = gpu_models.gpu_model

),

final as (

    select
        snapshot_id,
        series_id,
        source,
        dataset,
        provider,
        provider_raw,
        is_provider_known,
        sku_id,
        instance_type,
        price_key,
        region,
        zone_name,
        operating_system,
        tenancy,
        gpu_model,
        gpu_variant,
        coalesce(model_gpu_memory_gb, snapped_gpu_memory_gb) as gpu_memory_gb,
        gpu_memory_gb_raw,
        coalesce(
            gpu_memory_gb_raw is not null and model_gpu_memory_gb <> coalesce(snapped_gpu_memory_gb, 0), false
        ) as has_other_gpu_memory,
        gpu_count,
        known_gpu_count,
        gpu_count_raw,
        gpu_name_raw,
        pricing_model,
        pricing_category,
        market_tier,
        offer_tier,
        term_months,
        payment_option,
        pricing_model_raw,
        term_raw,
        -- What is sold and how, without the region: offers of one key are comparable between regions.
        concat_ws(
            '|',
            price_key,
            coalesce(operating_system, ''),
            coalesce(tenancy, ''),
            market_tier,
            offer_tier,
            pricing_model,
            coalesce(cast(term_months as varchar), ''),
            coalesce(payment_option, '')
        ) as offer_key,
        case
            when term_total_amount is not null then 'instance_term_total'
            when upfront_amount is not null and hourly_amount > 0 then 'instance_hour_and_upfront'
            when upfront_amount is not null then 'instance_upfront'
            when hourly_amount is not null then 'instance_hour'
            when gpu_hour_amount is not null then 'gpu_hour'
        end as price_basis,
        price_unit_raw,
        price_currency,
        -- What the source states: the recurring amount where there is one, else the total or upfront
        -- amount.
        case
            when hourly_amount > 0 or coalesce(upfront_amount, term_total_amount) is null
                then coalesce(hourly_amount, gpu_hour_amount)
            else coalesce(upfront_amount, term_total_amount)
        end as price_amount,
        fx_rate_usd,
        fx_rate_date,
        case
            when price_null_reason is null then cast(price_native_per_instance_hour as decimal(18, 8))
        end as price_native_per_instance_hour,
        case when price_null_reason is null then unchecked_price_usd_per_instance_hour end
            as price_usd_per_instance_hour,
        case
            when price_null_reason is null and price_currency <> 'USD'
                then {{ usd_at_rate("price_native_per_instance_hour", "first_fx_rate_usd") }}
        end as price_usd_per_instance_hour_at_first_rate,
        -- A fraction of a GPU has no price per GPU: it cannot be bought by the GPU.
        case
            when price_null_reason is null and gpu_count >= 1
                then {{ usd_rate("unchecked_price_usd_per_instance_hour", "gpu_count") }}
        end as price_usd_per_gpu_hour,
        case
            when price_null_reason is null then cast(upfront_native_per_instance as decimal(18, 2))
        end as upfront_native_per_instance,
        case
            when price_null_reason is null
                then {{ usd_at_rate("upfront_native_per_instance", "fx_rate_usd", scale=2) }}
        end as upfront_usd_per_instance,
        case
            when price_null_reason is null and term_total_amount is null
                then cast(recurring_native_per_instance_hour as decimal(18, 8))
        end as recurring_native_per_instance_hour,
        case
            when price_null_reason is null and term_total_amount is null
                then {{ usd_at_rate("recurring_native_per_instance_hour", "fx_rate_usd") }}
        end as recurring_usd_per_instance_hour,
        price_null_reason,
        announced_price_amount,
        announced_at,
        source_url,
        effective_at,
        fetched_at
    from identified_prices

)

select * from final
