-- A GPU name listed both for all sources and for one would double that source's offers where it is looked up.
select aliases.raw_value
from {{ ref("gpu_model_aliases") }} as aliases
inner join {{ ref("gpu_model_aliases") }} as shared_aliases
    on
        aliases.match_on = shared_aliases.match_on
        and aliases.raw_value = shared_aliases.raw_value
where aliases.source <> '*' and shared_aliases.source = '*'
