{{ config(tags=["after_capacity"]) }}

-- The day's commitments are priced at what the price book offers: what is not on offer cannot be recommended.
select
    tiers.provider,
    tiers.gpu_model,
    tiers.tier
from {{ ref("fct_capacity_plan_tiers") }} as tiers
inner join {{ ref("stg_ledger__run") }} as run on tiers.plan_date = run.as_of_date
left join {{ ref("int_capacity_offers") }} as offers
    on
        tiers.provider = offers.provider
        and tiers.region = offers.region
        and tiers.gpu_model = offers.gpu_model
        and tiers.tier = offers.offer
where
    tiers.tier_kind = 'committed'
    and (offers.offer is null or offers.rate_usd_per_gpu_hour <> tiers.usd_per_gpu_hour)
