{#-
Clusters are known by snapshots. What a snapshot shows holds until the next one of the same source and scope (a list of a
cluster's pods; the page of one node's exporter) that shows something else.
-#}

{#- The text under a key of a JSON object that is kept as text; null where it has none. -#}
{% macro json_text(object, key) -%}
    {{ return(adapter.dispatch("json_text")(object, key)) }}
{%- endmacro %}

{% macro duckdb__json_text(object, key) -%}
    json_extract_string({{ object }}, {{ key }})
{%- endmacro %}

{#- A label of `labels` by its name, which may hold dots and slashes. -#}
{% macro label_text(name) -%}
    {{ json_text("labels", "'$.\"" ~ name ~ "\"'") }}
{%- endmacro %}

{#- A label by a name that is a column. -#}
{% macro label_of(labels, key) -%}
    {{ json_text(labels, "'$.\"' || " ~ key ~ " || '\"'") }}
{%- endmacro %}

{#- Rows of `pair_key` and `pair_value`, with `columns`, one per pair of a JSON object of texts, for each row of `relation`. -#}
{% macro json_pairs(relation, object, columns) -%}
    {{ return(adapter.dispatch("json_pairs")(relation, object, columns)) }}
{%- endmacro %}

{% macro duckdb__json_pairs(relation, object, columns) -%}
    select
        {{ columns | join(", ") }},
        unnest(map_keys(cast(cast({{ object }} as json) as map(varchar, varchar)))) as pair_key,
        unnest(map_values(cast(cast({{ object }} as json) as map(varchar, varchar)))) as pair_value
    from {{ relation }}
{%- endmacro %}

{#- The digest under which the readers keep an id or address (serving_logs/fields.py). -#}
{% macro text_digest(text) -%}
    {{ return(adapter.dispatch("text_digest")(text)) }}
{%- endmacro %}

{% macro duckdb__text_digest(text) -%}
    cast(md5_number({{ text }}) as uuid)
{%- endmacro %}

{#- Whether a text fits a pattern in which `*` stands for any characters and everything else for itself. -#}
{% macro fits_pattern(text, pattern) -%}
    {{ text }} like replace(
        replace(replace(replace({{ pattern }}, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%'
    ) escape '\'
{%- endmacro %}

{#- What follows the last slash. -#}
{% macro last_segment(path) -%}
    reverse({{ dbt.split_part("reverse(" ~ path ~ ")", "'/'", 1) }})
{%- endmacro %}

{#- What stands between the last two slashes; empty where there are none. -#}
{% macro parent_segment(path) -%}
    reverse({{ dbt.split_part("reverse(" ~ path ~ ")", "'/'", 2) }})
{%- endmacro %}

{#-
Slices that MIG can cut a GPU of this model into: an A30 and an RTX PRO 6000 four, all others seven (NVIDIA MIG user guide).
-#}
{% macro mig_slices(gpu_model) -%}
    case when {{ gpu_model }} like 'A30-%' or {{ gpu_model }} like 'RTX-PRO-6000-%' then 4 else 7 end
{%- endmacro %}

{#- Slices of a MIG profile: 3g.40gb has three, and 1c.3g.40gb, a part of it, is counted as the instance it is in. -#}
{% macro mig_profile_slices(profile) -%}
    {{ dbt.safe_cast(
        "reverse(" ~ dbt.split_part("reverse(" ~ dbt.split_part(profile, "'g.'", 1) ~ ")", "'.'", 1) ~ ")",
        "integer",
    ) }}
{%- endmacro %}

{#- A source that has not been heard of for so long says nothing more; so one snapshot a day holds a day. -#}
{% macro inventory_hold_hours() -%}
    {{ return(24) }}
{%- endmacro %}

{#-
The sources and scopes that a run judges anew, with the last snapshot before its window, `base_at`: what was seen until
then stands. Null: all of it is judged.
-#}
{% macro scopes_to_judge(kind) -%}
    select
        source_name,
        scope,
        {% if is_incremental() -%}
        max(case when observed_at < {{ window_start_at() }} then observed_at end)
        {%- else -%}
        cast(null as timestamptz)
        {%- endif %} as base_at
    from {{ ref("stg_inventory__snapshots") }}
    where kind = '{{ kind }}'
    group by source_name, scope
    {% if is_incremental() -%}
    having max(observed_at) >= {{ window_start_at() }}
    {%- endif %}
{%- endmacro %}

{#-
Intervals of objects that snapshots show. An interval is a run of snapshots, none left out, that show the object in one
state. It begins when the object was first seen (the first of an object: when it says it began), and ends with the first
snapshot that does not show it so; it is open while the newest snapshot shows it.

Incremental (strategy `replace_open_intervals`): of what began before the run's window, the snapshot before the window is
read and carries on what the table says of it.

sightings: a staging model with source_name, scope, observed_at, object_id and began_at.
state: columns whose change ends an interval. kept: columns of which the largest value in the run is kept.
-#}
{% macro intervals_of_sightings(kind, sightings, state, kept=[]) -%}
-- depends_on: {{ ref('stg_ledger__run') }}, {{ ref('stg_ledger__inventory_sources') }}
with judged as (

    {{ scopes_to_judge(kind) }}

),

snapshots as (

    select
        source_name,
        scope,
        observed_at,
        lead(observed_at) over (partition by source_name, scope order by observed_at) as next_observed_at,
        row_number() over (partition by source_name, scope order by observed_at) as snapshot_number
    from {{ ref("stg_inventory__snapshots") }}
    where kind = '{{ kind }}'
    group by source_name, scope, observed_at

),

-- One row per object and instant: files of one instant are one snapshot.
sightings as (

    select
        sightings.*,
        judged.base_at,
        row_number() over (
            partition by sightings.source_name, sightings.scope, sightings.object_id, sightings.observed_at
            order by {% for column in state + kept %}sightings.{{ column }}{{ ", " if not loop.last }}{% endfor %}
        ) as copy_number
    from {{ ref(sightings) }} as sightings
    inner join judged
        on
            sightings.source_name = judged.source_name
            and sightings.scope = judged.scope
            and (judged.base_at is null or sightings.observed_at >= judged.base_at)
    {%- if is_incremental() %}
        where
            sightings.observed_at >= (
                select min(coalesce(scopes.base_at, {{ start_of_day("cast('1970-01-01' as date)") }}))
                from judged as scopes
            )
    {%- endif %}

),

numbered as (

    select
        sightings.*,
        snapshots.snapshot_number,
        snapshots.next_observed_at
    from sightings
    inner join snapshots
        on
            sightings.source_name = snapshots.source_name
            and sightings.scope = snapshots.scope
            and sightings.observed_at = snapshots.observed_at
    where sightings.copy_number = 1

),

compared as (

    select
        *,
        case
            when
                lag(snapshot_number) over by_object = snapshot_number - 1
                {%- for column in state %}
                    and {{ same(column, "lag(" ~ column ~ ") over by_object") }}
                {%- endfor %}
                then 0
            else 1
        end as is_start
    from numbered
    window by_object as (partition by source_name, scope, object_id order by observed_at)

),

with_runs as (

    select
        *,
        sum(is_start) over (
            partition by source_name, scope, object_id
            order by observed_at
            rows between unbounded preceding and current row
        ) as run_number
    from compared

),

runs as (

    select
        source_name,
        scope,
        object_id,
        run_number,
        {%- for column in state + kept %}
            max({{ column }}) as {{ column }},
        {%- endfor %}
        max(base_at) as base_at,
        min(began_at) as began_at,
        min(observed_at) as first_seen_at,
        max(observed_at) as last_seen_at,
        case when count(*) = count(next_observed_at) then max(next_observed_at) end as valid_to_at
    from with_runs
    group by source_name, scope, object_id, run_number

),
{% if is_incremental() %}
-- What the table says of the objects up to the snapshot before the window: the interval that holds it.
earlier as (

    select
        intervals.source_name,
        intervals.scope,
        intervals.object_id,
        {%- for column in ["first_seen_at", "valid_from_at"] + kept %}
            max(
                case
                    when intervals.valid_to_at is null or intervals.valid_to_at > judged.base_at
                        then intervals.{{ column }}
                end
            ) as {{ column }}{{ "," if not loop.last }}
        {%- endfor %}
    from {{ this }} as intervals
    inner join judged
        on
            intervals.source_name = judged.source_name
            and intervals.scope = judged.scope
            and intervals.first_seen_at <= judged.base_at
    group by intervals.source_name, intervals.scope, intervals.object_id

),
{% endif %}
final as (

    select
        runs.source_name,
        runs.scope,
        runs.object_id,
        {%- for column in state %}
            runs.{{ column }},
        {%- endfor %}
        {%- for column in kept %}
            {%- if is_incremental() %}
                case
                    when runs.first_seen_at > runs.base_at or runs.base_at is null then runs.{{ column }}
                    when runs.{{ column }} is null or earlier.{{ column }} > runs.{{ column }} then earlier.{{ column }}
                    else runs.{{ column }}
                end as {{ column }},
            {%- else %}
                runs.{{ column }},
            {%- endif %}
        {%- endfor %}
        {%- if is_incremental() %}
            case
                when runs.first_seen_at = runs.base_at then coalesce(earlier.first_seen_at, runs.first_seen_at)
                else runs.first_seen_at
            end as first_seen_at,
        {%- else %}
            runs.first_seen_at,
        {%- endif %}
        runs.last_seen_at,
        case
            {%- if is_incremental() %}
                when runs.first_seen_at = runs.base_at and earlier.valid_from_at is not null then earlier.valid_from_at
                when earlier.object_id is not null then runs.first_seen_at
            {%- endif %}
            when runs.run_number = 1 and runs.began_at < runs.first_seen_at then runs.began_at
            else runs.first_seen_at
        end as valid_from_at,
        runs.valid_to_at
    from runs
    {%- if is_incremental() %}
        left join earlier
            on
                runs.source_name = earlier.source_name
                and runs.scope = earlier.scope
                and runs.object_id = earlier.object_id
    {%- endif %}

)

select * from final
{%- endmacro %}

{#-
Incremental strategy `replace_open_intervals`: intervals that ended by the last snapshot before the run's window stand;
later ones of a source that was heard of since are written anew; those of a source that the ledger does not name go.
-#}
{% macro get_incremental_replace_open_intervals_sql(arg_dict) -%}
    {%- set columns = arg_dict["dest_columns"] | map(attribute="quoted") | join(", ") -%}
    delete from {{ arg_dict["target_relation"] }}
    where (source_name, scope, object_id, first_seen_at) in (
        select intervals.source_name, intervals.scope, intervals.object_id, intervals.first_seen_at
        from {{ arg_dict["target_relation"] }} as intervals
        inner join ({{ scopes_to_judge(config.get("meta")["kind"]) }}) as judged
            on intervals.source_name = judged.source_name and intervals.scope = judged.scope
        where
            judged.base_at is null
            or intervals.valid_to_at is null
            or intervals.valid_to_at > judged.base_at
    )
    or source_name not in (
        select sources.source_name from {{ ref("stg_ledger__inventory_sources") }} as sources
        where sources.kind = '{{ config.get("meta")["kind"] }}'
    );

    insert into {{ arg_dict["target_relation"] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict["temp_relation"] }}
{%- endmacro %}

{#-
How much of a GPU one device of a resource is: a MIG instance its slices, a share its part; null where that is not known.
The profile is in the name of the resource (nvidia.com/mig-3g.40gb), or of the node's product where all GPUs are cut alike.
-#}
{% macro gpu_fraction(resource, node_profile, gpu_model, is_shared, devices_per_gpu) -%}
    {%- set profile = mig_profile_of(resource, node_profile) -%}
    (
        case
            when {{ profile }} is null then cast(1 as double)
            else cast({{ mig_profile_slices(profile) }} as double) / {{ mig_slices(gpu_model) }}
        end
        / case
            when {{ resource }} like '%.shared' or {{ is_shared }} then {{ devices_per_gpu }}
            when {{ is_shared }} is null then null
            else 1
        end
    )
{%- endmacro %}

{% macro mig_profile_of(resource, node_profile) -%}
    case
        when {{ resource }} like 'nvidia.com/mig-%'
            then replace(replace({{ resource }}, 'nvidia.com/mig-', ''), '.shared', '')
        else {{ node_profile }}
    end
{%- endmacro %}

{#- Observed and declared GPU-hours this close agree: a day of a machine has 86,400 seconds, its first minutes of boot are few. -#}
{% macro fleet_tolerance() -%}
    cast(0.01 as decimal(3, 2))
{%- endmacro %}
