-- A name is listed either for one source or for all of them: with both, an offer would have two rows.
select
    specific.source,
    specific.match_on,
    specific.raw_value
from {{ ref("gpu_model_aliases") }} as specific
inner join {{ ref("gpu_model_aliases") }} as general
    on
        specific.match_on = general.match_on
        and specific.raw_value = general.raw_value
        and general.source = '*'
where specific.source <> '*'
