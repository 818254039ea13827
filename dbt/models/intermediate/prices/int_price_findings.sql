{{ config(
    materialized="incremental",
    incremental_strategy="replace_unsettled",
    on_schema_change="fail",
    meta={"begins_column": "first_seen_at", "key": ["finding_id"]},
) }}

-- Every rule in one place, in words: each incident with its cause and what was done.

-- depends_on: {{ ref('stg_ledger__run') }}
with findings as (

    select * from {{ ref("int_price_incidents") }}

),

price_rules as (

    select * from {{ ref("price_rules") }}

),

price_sources as (

    select * from {{ ref("price_sources") }}

),

described_findings as (

    select
        findings.*,
        price_rules.layer,
        price_rules.severity,
        price_rules.action,
        coalesce(findings.provider, price_sources.provider, findings.source) as provider_name
    from findings
    inner join price_rules on findings.rule_id = price_rules.rule_id
    left join price_sources on findings.source = price_sources.source

),

worded_findings as (

    select
        rule_id,
        layer,
        severity,
        action,
        source,
        dataset,
        provider_name as provider,
        series_id,
        price_key,
        instance_type,
        region,
        gpu_model,
        pricing_model,
        term_months,
        payment_option,
        first_seen_at,
        last_seen_at,
        is_open,
        snapshot_id,
        cast(series_count as bigint) as series_count,
        cast(observed as decimal(28, 8)) as observed,
        cast(expected as decimal(28, 8)) as expected,
        cast(ratio as decimal(28, 8)) as ratio,
        case
            when series_count > 1 and price_key_count > 0
                then
                    cast(series_count as varchar) || ' prices of '
                    || coalesce(price_key, cast(price_key_count as varchar) || ' machine types') || ' in '
                    || coalesce(region, cast(region_count as varchar) || ' regions')
                    || ', such as ' || subject
            else subject
        end as subject,
        md5(
            concat_ws('|', rule_id, source, dataset, event_key, cast(first_seen_at as varchar))
        ) as finding_id,
        case
            when layer = 'L1' then 'USD per GPU-hour'
            when layer = 'L3b' then 'ratio'
            when layer = 'coverage' then 'offers'
            when layer = 'staleness' then 'days'
            when rule_id in ('price_unlike_its_family', 'newer_gpu_too_cheap', 'price_unlike_peers')
                then 'USD per GPU-hour'
            when rule_id = 'gpu_count_conflict' then 'GPUs per instance'
            when layer = 'L0' then 'amount as stated'
            else 'USD per instance-hour'
        end as measure,
        case
            when rule_id = 'missing_component'
                then 'a part of the offer is missing from the feed'
            when rule_id in ('unknown_price_unit', 'unknown_pricing_words')
                then 'the source has a new word, or an old one changed its meaning'
            when rule_id in ('unknown_gpu_name', 'unknown_instance_type') then 'new hardware'
            when rule_id = 'no_exchange_rate'
                then 'the rates were not pulled, or the ECB does not list the currency'
            when rule_id = 'currency_mismatch' then 'the feed of another country, or none was asked for'
            when slip_cause is not null then slip_cause
            when rule_id = 'spot_without_discount' then 'no spot discount published'
            when rule_id = 'commitment_without_discount' then 'no price of its own for the commitment'
            when rule_id = 'spot_above_on_demand' then 'spot and on demand swapped, or one in another unit'
            when rule_id = 'commitment_above_on_demand'
                then 'a part of on demand missing, or a term total read as an hourly price'
            when rule_id = 'longer_term_dearer' then 'terms swapped, or a part of one missing'
            when rule_id = 'price_far_from_region_median'
                then 'a part of the price missing, or the price of another machine'
            when rule_id = 'price_unlike_its_family'
                then 'a part of the price missing, or prices per GPU and per instance confused'
            when rule_id = 'newer_gpu_too_cheap' then 'the price of the GPU before it, or a part missing'
            when layer = 'coverage' then 'a page or a region of the feed failed'
            when rule_id = 'spot_prices_frozen' then 'a cache that answers with old prices'
            when rule_id in ('list_price_changed', 'list_price_jumped', 'spot_price_jumped')
                then 'the provider moved its price'
            when layer = 'L3b' then 'another currency, or tax added'
        end as likely_cause,
        case
            when rule_id in ('unknown_pricing_words', 'unknown_price_unit')
                then '"' || coalesce(evidence, '') || '" has no meaning here. No price is taken from it.'
            when rule_id = 'currency_mismatch'
                then 'The price is in ' || evidence || '. It is not converted, and not used.'
            when rule_id = 'no_exchange_rate'
                then 'The price is in ' || evidence || ', for which no rate of the last seven days is known.'
            when rule_id = 'missing_component'
                then 'A part of the price is missing: the whole is unknown. No smaller sum is used instead.'
            when rule_id = 'conflicting_prices'
                then 'The source states two prices for the same offer. Neither is used.'
            when rule_id = 'price_not_positive' then 'The price is zero or less. It is not a price.'
            when rule_id = 'price_out_of_range' then 'The amount cannot be a price.'
            when rule_id = 'price_not_in_force_yet'
                then
                    'A price of ' || {{ plain_number("observed") }} || ' is announced for ' || evidence || '.'
            when rule_id in ('unknown_gpu_name', 'unknown_instance_type')
                then '"' || evidence || '" is not known. Its price is kept, without a GPU model.'
            when rule_id = 'gpu_count_conflict'
                then
                    'The source counts ' || {{ plain_number("observed") }} || ' GPUs, instance_types '
                    || {{ plain_number("expected") }} || '. The latter is used.'
            when layer = 'L1'
                then
                    {{ plain_number("observed") }} || ' USD per GPU-hour is out of bounds for a reference of '
                    || {{ plain_number("expected") }}
                    || coalesce('; the last accepted price was ' || evidence || ' USD per instance-hour', '')
                    || '.'
            when rule_id = 'price_far_from_region_median'
                then
                    {{ plain_number("observed") }}
                    || ' USD per instance-hour, while the median over the regions is '
                    || {{ plain_number("expected") }} || '.'
            when rule_id = 'price_unlike_its_family'
                then
                    {{ plain_number("observed") }} || ' USD per GPU-hour, while the median of the sizes of '
                    || evidence || ' is ' || {{ plain_number("expected") }} || '.'
            when rule_id = 'newer_gpu_too_cheap'
                then
                    {{ plain_number("observed") }} || ' USD per GPU-hour does not fit ' || evidence
                    || ' in the same region, which allows ' || {{ plain_number("expected") }} || '.'
            when rule_id = 'price_unlike_peers'
                then
                    {{ plain_number("observed") }} || ' USD per GPU-hour, while the median of ' || evidence
                    || ' other providers is ' || {{ plain_number("expected") }} || '.'
            when rule_id = 'commitment_above_on_demand' and evidence is not null
                then
                    {{ plain_number("observed") }}
                    || ' USD per instance-hour on demand, while a commitment costs '
                    || {{ plain_number("expected") }} || '.'
            when rule_id = 'longer_term_dearer' and evidence is not null
                then
                    {{ plain_number("observed") }} || ' USD per instance-hour, while a longer term costs '
                    || {{ plain_number("expected") }} || '.'
            when
                rule_id in (
                    'spot_above_on_demand',
                    'spot_without_discount',
                    'commitment_above_on_demand',
                    'commitment_without_discount'
                )
                then
                    {{ plain_number("observed") }} || ' USD per instance-hour, while on demand costs '
                    || {{ plain_number("expected") }} || '.'
            when rule_id = 'longer_term_dearer'
                then
                    'The longer term costs ' || {{ plain_number("observed") }}
                    || ' USD per instance-hour, the shorter ' || {{ plain_number("expected") }} || '.'
            when rule_id = 'regions_swapped'
                then
                    evidence || ' show each other''s earlier prices on ' || cast(series_count as varchar)
                    || ' offers.'
            when rule_id in ('region_missing', 'offers_missing')
                then
                    {{ plain_number("observed") }} || ' of ' || {{ plain_number("expected") }}
                    || ' machines in regions are gone' || coalesce(', all of ' || evidence, '') || '.'
            when rule_id = 'spot_prices_frozen'
                then
                    'No spot price moved for ' || {{ plain_number("observed") }}
                    || ' days, since ' || evidence
                    || '; the longest pause before was ' || {{ plain_number("expected") }} || ' days.'
            when layer = 'L3b'
                then
                    cast(series_count as varchar) || ' of ' || evidence
                    || ' prices moved by the same factor of ' || {{ plain_number("observed") }} || '.'
            else
                'Moved from ' || {{ plain_number("expected") }} || ' to ' || {{ plain_number("observed") }}
                || ' USD per instance-hour (x' || {{ plain_number("ratio") }} || ').'
        end as explanation
    from described_findings

),

final as (

    select * from worded_findings
    {% if is_incremental() -%}
        -- The snapshots looked at begin in the middle of things: what is older is known, or is not what it
        -- seems.
        where
            first_seen_at >= {{ prices_settled_until_at() }}
            or finding_id in (select known.finding_id from {{ this }} as known)
            -- Spot prices that stand still are told from all pulls that ever were.
            or layer = 'staleness'
    {%- endif %}

)

select * from final
