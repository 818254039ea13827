-- Deployments and residuals of a provider's day sum to what its day is modelled and billed at; and the parts
-- of each difference to the difference.
with deployments as (

    select
        usage_date,
        provider,
        sum(modelled_cost_usd) as modelled_cost_usd,
        sum(billed_cost_usd) as billed_cost_usd,
        sum(billed_cost_usd - modelled_cost_usd - not_yet_billed_usd - difference_usd) as unnamed_usd
    from {{ ref("fct_bill_deployments_daily") }}
    group by usage_date, provider

),

reconciliation as (

    select
        usage_date,
        provider,
        sum(modelled_cost_usd) as modelled_cost_usd,
        sum(billed_cost_usd) as billed_cost_usd
    from {{ ref("fct_bill_reconciliation_daily") }}
    group by usage_date, provider

)

select
    reconciliation.usage_date,
    reconciliation.provider
from reconciliation
full outer join deployments
    on
        reconciliation.usage_date = deployments.usage_date
        and reconciliation.provider = deployments.provider
where
    reconciliation.modelled_cost_usd is distinct from deployments.modelled_cost_usd
    or reconciliation.billed_cost_usd is distinct from deployments.billed_cost_usd
    or deployments.unnamed_usd <> 0
