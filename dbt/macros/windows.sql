{#-
First instant whose usage this run rebuilds, or so many hours before it, as a scalar subquery. Compare a plain column of
a table with it: engines then skip what is older (DuckDB passes the value on to the scan, but not below a window
function), and a run costs the same after a year as after a week.
-#}
{% macro window_start_at(look_back_hours=0) -%}
    (select {{ plus_hours("run.window_start_at", -look_back_hours) }} from {{ ref("stg_ledger__run") }} as run)
{%- endmacro %}

{#-
First instant whose records of usage (calls, scrapes, lines of engine logs) this run adds up anew, or `look_back_hours`
before it; never one whose sums are archived (orchestration/usage_archive.py). `context_hours`: how much earlier records
are looked at to know what those mean.
-#}
{% macro records_start_at(look_back_hours=0, context_hours=0) -%}
    {%- set first = plus_hours("run.window_start_at", -look_back_hours) if look_back_hours else "run.window_start_at" -%}
    {%- set first = "greatest(" ~ first ~ ", run.usage_archived_until_at)" -%}
    (
        select {{ plus_hours(first, -context_hours) if context_hours else first }}
        from {{ ref("stg_ledger__run") }} as run
    )
{%- endmacro %}

{#-
The same as a UTC day, for calls and scrapes, which bear theirs. DuckDB guesses that of a table n / d^(2/3) rows are not
older than a single row's value, d being how many values its column has. Of five million calls it expects 249 by their
instant, then keeps the calls in memory and looks up in them what is small: three times as long. Days are few, and the
guess is good.
-#}
{% macro records_start_date(context_days=0) -%}
    {%- set first = "greatest(run.window_start_date, run.usage_archived_until_date)" -%}
    (
        select {{ plus_days(first, -context_days) if context_days else first }}
        from {{ ref("stg_ledger__run") }} as run
    )
{%- endmacro %}

{#-
`final` as the last word of a model that adds records of usage up. Where the model is built anew, what it said of days
whose records were pruned comes from the archive; columns that it did not have then are null.
-#}
{% macro with_archived() -%}
    {{ return(adapter.dispatch("with_archived")()) }}
{%- endmacro %}

{% macro duckdb__with_archived() -%}
    {%- set archived = none -%}
    {%- if execute and this and not is_incremental() -%}  {#- a unit test has no `this`, and no archive -#}
        {%- set archived = adapter.get_relation(this.database, "archive", this.name) -%}
    {%- endif -%}
    select * from final
    {%- if archived is not none %}
    where {{ config.get("meta")["window_column"] }} >= (
        select run.usage_archived_until_at from {{ ref("stg_ledger__run") }} as run
    )
    union all by name
    select * from {{ archived }}
    {%- endif %}
{%- endmacro %}

{#- End of the last day of the run, exclusive, as a scalar subquery. -#}
{% macro as_of_end_at() -%}
    (select run.as_of_end_at from {{ ref("stg_ledger__run") }} as run)
{%- endmacro %}

{#-
Incremental strategy `replace_window`: everything from the start of the run's window on is deleted and written anew, so a
record that disappeared upstream disappears here too, and any order of re-runs gives the same table. The model states in
`meta.window_column` which instant the window is about and selects only rows inside the window. Where a record can change
rows about an earlier time, `meta.window_look_back_hours` says how much earlier. With `meta.window_of: usage` the window is
that of the hours of deployments (int_usage_window); with `records` it holds no archived day; with `costs` it is that of
the costs, which ledger.yaml, prices and bills open as well.
-#}
{% macro get_incremental_replace_window_sql(arg_dict) -%}
    {%- set columns = arg_dict["dest_columns"] | map(attribute="quoted") | join(", ") -%}
    {%- set meta = config.get("meta") -%}
    delete from {{ arg_dict["target_relation"] }}
    where {{ meta["window_column"] }} >=
    {% if meta.get("window_of") == "costs" -%}
        {{ costs_window_start_at() }}
    {%- elif meta.get("window_of") == "usage" -%}
        {{ usage_window_start_at() }}
    {%- elif meta.get("window_of") == "records" -%}
        {{ records_start_at(meta.get("window_look_back_hours", 0)) }}
    {%- else -%}
        {{ window_start_at(meta.get("window_look_back_hours", 0)) }}
    {%- endif %};

    insert into {{ arg_dict["target_relation"] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict["temp_relation"] }}
{%- endmacro %}

{#-
How far back a scrape looks for the one before it. An increase belongs to the middle of the time between the two: at most
half as many hours before the scrape.
-#}
{% macro scrape_look_back_hours() -%}
    {{ return(168) }}
{%- endmacro %}

{#-
A row's part of `amount`, in proportion to its weight inside the partition, rounded to `scale` decimals so that the parts
sum to the amount exactly: each part is the difference of two rounded running totals. A weight that is no whole number has
at most `weight_scale` decimals.
-#}
{% macro share_of(amount, weight, partition_by, order_by, scale=0, weight_scale=0) -%}
    {%- set total = "sum(" ~ weight ~ ") over (partition by " ~ partition_by ~ ")" -%}
    {%- set running -%}
        sum({{ weight }}) over (
            partition by {{ partition_by }} order by {{ order_by }} rows between unbounded preceding and current row
        )
    {%- endset -%}
    (
        {{ part_of(amount, running, total, scale, weight_scale) }}
        - {{ part_of(amount, "(" ~ running ~ " - " ~ weight ~ ")", total, scale, weight_scale) }}
    )
{%- endmacro %}

{#-
amount x weight / total, rounded half up to `scale` decimals; null when the total is zero or anything is unknown. In whole
units, for a double holds no more than 90,071 USD to 10 decimals: the part of the whole weight is the amount itself.
Amount and weight in whole units multiply to at most 10^38: a billion USD by costs of a billion, to 10 decimals each.
-#}
{% macro part_of(amount, weight, total, scale, weight_scale=0) -%}
    {{ return(adapter.dispatch("part_of")(amount, weight, total, scale, weight_scale)) }}
{%- endmacro %}

{#-
DuckDB divides HUGEINT bit by bit, 0.8 us where BIGINT takes 0.06 (2.0.0, AMD EPYC), so what fits BIGINT is divided as such.
A double holds whole units below 2^49 to a quarter of one, so they round to what they are.
-#}
{% macro duckdb__part_of(amount, weight, total, scale, weight_scale) -%}
    {%- set units, weight_units, total_units = (
        whole_units(amount, scale), whole_units(weight, weight_scale), whole_units(total, weight_scale)
    ) -%}
    {%- set few, few_weight, few_total = (
        few_units(amount, scale), few_units(weight, weight_scale), few_units(total, weight_scale)
    ) -%}
    case
        when {{ amount }} is null then null
        when
            abs(cast({{ amount }} as double)) < 5e{{ 14 - scale }}
            and {{ weight }} between 0 and {{ total }}
            and cast({{ total }} as double) < 5e{{ 14 - weight_scale }}
            and abs(cast({{ amount }} as double)) * cast({{ total }} as double) < 9e{{ 18 - scale - weight_scale }}
            then {{ amount_of_units(
                "((" ~ few ~ " * " ~ few_weight ~ " + " ~ few_total ~ " // 2) // nullif(" ~ few_total ~ ", 0))", scale
            ) }}
        else {{ amount_of_units(
            "((" ~ units ~ " * " ~ weight_units ~ " + " ~ total_units ~ " // 2) // nullif(" ~ total_units ~ ", 0))", scale
        ) }}
    end
{%- endmacro %}

{#-
numerator / denominator as a share between 0 and 1, decimal(9,8); more than the whole is the whole. Null when the
denominator is zero or either side is unknown: not `least(x, 1)`, which makes 1 of an unknown x in most engines.
-#}
{% macro share_ratio(numerator, denominator) -%}
    cast(
        case
            when {{ numerator }} > {{ denominator }} and {{ denominator }} > 0 then 1
            else {{ ratio(numerator, denominator) }}
        end as decimal(9, 8)
    )
{%- endmacro %}

{#-
The price book goes on from what it said before: up to `prices_settled_until_at` it stands. To judge what came after, a
run reads the snapshots of so many days before that, more than any rule looks back: the longest is how old a yardstick may
be (is_still_a_yardstick). Of a source that rests, the last few snapshots are read, however old.
-#}
{% macro price_look_back_days() -%}
    {{ return(35) }}
{%- endmacro %}

{#- Up to when the price book stands, as a scalar subquery. -#}
{% macro prices_settled_until_at() -%}
    (select run.prices_settled_until_at from {{ ref("stg_ledger__run") }} as run)
{%- endmacro %}

{#-
Since when snapshots have to be judged anew, as a scalar subquery: what was first seen since the settled time, and after a
pause or a late replay everything that is looked at.
-#}
{% macro prices_judged_until_at() -%}
    (
        select
            case
                when max(fetches.fetched_at) < {{ plus_hours("run.prices_settled_until_at", 48) }}
                    then run.prices_settled_until_at
                else {{ start_of_day("cast('1970-01-01' as date)") }}
            end
        from {{ ref("stg_ledger__run") }} as run
        cross join {{ ref("stg_prices__fetches") }} as fetches
        group by run.prices_settled_until_at
    )
{%- endmacro %}

{#- The snapshots that are judged in this run, one row each with the time of its first sighting. -#}
{% macro snapshots_to_judge() -%}
    select
        snapshot_id,
        source,
        dataset,
        min(seen_from_at) as first_seen_at
    from {{ ref("int_price_snapshots") }}
    group by snapshot_id, source, dataset
    {% if is_incremental() -%}
        having
            min(seen_from_at) >= {{ prices_judged_until_at() }}
            or snapshot_id in (select changes.snapshot_id from {{ ref("stg_prices__changes") }} as changes)
    {%- endif %}
{%- endmacro %}

{#-
Incremental strategy `replace_unsettled`: rows that begin after the settled time are deleted and written anew; a row from
before is replaced when the model brings it again, which it does to end it or to say that it goes on. The model states in
`meta.begins_column` when a row begins, and the columns of its key in `meta.key`.
-#}
{% macro get_incremental_replace_unsettled_sql(arg_dict) -%}
    {%- set columns = arg_dict["dest_columns"] | map(attribute="quoted") | join(", ") -%}
    {%- set meta = config.get("meta") -%}
    {%- set key = meta["key"] | join(", ") -%}
    delete from {{ arg_dict["target_relation"] }}
    where {{ meta["begins_column"] }} >= {{ prices_settled_until_at() }}
    or ({{ key }}) in (select {{ key }} from {{ arg_dict["temp_relation"] }});

    insert into {{ arg_dict["target_relation"] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict["temp_relation"] }}
{%- endmacro %}

{#-
Incremental strategy `keep_window_snapshots`: a table about single snapshots keeps those that the run reads, gains the new
ones and loses the old ones.
-#}
{% macro get_incremental_keep_window_snapshots_sql(arg_dict) -%}
    {%- set columns = arg_dict["dest_columns"] | map(attribute="quoted") | join(", ") -%}
    delete from {{ arg_dict["target_relation"] }}
    where snapshot_id in (select snapshot_id from {{ arg_dict["temp_relation"] }})
    or snapshot_id in (select judged.snapshot_id from ({{ snapshots_to_judge() }}) as judged)
    or snapshot_id not in (select snapshot_id from {{ ref("int_price_snapshots") }});

    insert into {{ arg_dict["target_relation"] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict["temp_relation"] }}
{%- endmacro %}

{#-
How far before the window an increase of a counter may stand, in whole days, for models by day: half of what a scrape looks
back (84 hours), rounded up to midnight, as the window starts at one.
-#}
{% macro usage_days_look_back_hours() -%}
    {{ return(96) }}
{%- endmacro %}

{#- First instant whose hours of deployments this run works out anew (int_usage_window), or so many hours before it. -#}
{% macro usage_window_start_at(look_back_hours=0) -%}
    (select {{ plus_hours("usage_window.usage_window_start_at", -look_back_hours) }} from {{ ref("int_usage_window") }} as usage_window)
{%- endmacro %}

{#- Of a table that is kept, only the rows from the start of that window on; all of them where the model is built anew. -#}
{% macro in_usage_window(column, keyword="where", look_back_hours=0) -%}
    {#- While dbt reads the project, so that it knows of the dependency; a unit test has no window. -#}
    {%- if not execute or (this and is_incremental()) -%}
        {{ keyword }} {{ column }} >= {{ usage_window_start_at(look_back_hours) }}
    {%- endif -%}
{%- endmacro %}

{#- First instant whose costs this run works out anew (int_costs_window), or of its month; a midnight, as a scalar subquery. -#}
{% macro costs_window_start_at(of_month=false) -%}
    (select costs_window.{{ "month_start_at" if of_month else "costs_window_start_at" }} from {{ ref("int_costs_window") }} as costs_window)
{%- endmacro %}

{#-
Of a table that is kept, only the rows from the start of the costs' window on, or of the month that holds it; all of them
where the model is built anew. Costs are decided hour by hour and day by day, what a bill says of a commitment by month.
-#}
{% macro in_costs_window(column, keyword="where", of_month=false) -%}
    {%- if not execute or (this and is_incremental()) -%}
        {{ keyword }} {{ column }} >= {{ costs_window_start_at(of_month) }}
    {%- endif -%}
{%- endmacro %}

{#- The columns of a row as one text, for comparing rows of different runs. -#}
{% macro said_of(columns) -%}
    concat_ws(
        '|'
        {%- for column in columns %}, coalesce(cast({{ column }} as {{ dbt.type_string() }}), ''){% endfor %}
    )
{%- endmacro %}

{#- The number of this build in a table that keeps what each build said: one more than the last, or the first. -#}
{% macro this_build_number() -%}
    cast(
        {% if is_incremental() -%}
            (select coalesce(max(earlier.build_number), 0) + 1 from {{ this }} as earlier)
        {%- else -%}
            1
        {%- endif %} as bigint
    )
{%- endmacro %}
