{#-
Tables and views are replaced where they are, in one transaction. dbt-duckdb's own way is a table of another name, two
renames and a drop, which other engines need; dbt's Python for them took a fifth of a build. A model that fails leaves the
table as it was, as there: `create or replace` is rolled back with the rest. Hooks, indexes, grants and models in Python
are left out, for no model has any.
-#}
{% materialization table, adapter="duckdb" %}
    {%- set relation = replaceable("table") -%}
    {% call statement("main") -%}
        {% if config.get("contract").enforced -%}
            {{ get_assert_columns_equivalent(compiled_code) }}
            create or replace table {{ relation }} {{ get_table_columns_and_constraints() }};
            insert into {{ relation }} {{ get_column_names() }} ({{ get_select_subquery(compiled_code) }});
        {%- else -%}
            create or replace table {{ relation }} as ({{ compiled_code }});
        {%- endif %}
    {%- endcall %}
    {% do persist_docs(relation, model) %}
    {% do adapter.commit() %}
    {{ return({"relations": [relation]}) }}
{% endmaterialization %}

{% materialization view, adapter="duckdb" %}
    {%- set relation = replaceable("view") -%}
    {% call statement("main") -%}
        {% if config.get("contract").enforced -%} {{ get_assert_columns_equivalent(compiled_code) }} {%- endif %}
        create or replace view {{ relation }} as ({{ compiled_code }});
    {%- endcall %}
    {% do persist_docs(relation, model) %}
    {% do adapter.commit() %}
    {{ return({"relations": [relation]}) }}
{% endmaterialization %}

{#- The model's relation as a `kind`, after a model of its name that was another kind has been dropped. -#}
{% macro replaceable(kind) -%}
    {%- set found = load_cached_relation(this) -%}
    {%- if found is not none and found.type != kind %} {% do adapter.drop_relation(found) %} {% endif -%}
    {{ return(this.incorporate(type=kind)) }}
{%- endmacro %}

{#- In one statement, and without asking first which columns there are: the contract has compared them. -#}
{% macro duckdb__persist_docs(relation, model, for_relation, for_columns) -%}
    {%- set comments -%}
        {%- if for_relation and config.persist_relation_docs() and model.description %}
            {{- alter_relation_comment(relation, model.description) }}
        {%- endif %}
        {%- if for_columns and config.persist_column_docs() %}
            {%- for name, column in model.columns.items() %}
        comment on column {{ relation }}.{{ name }} is {{ duckdb_escape_comment(column.description) }};
            {%- endfor %}
        {%- endif %}
    {%- endset -%}
    {%- if comments | trim %} {% call statement("comments") %} {{ comments }} {% endcall %} {% endif -%}
{%- endmacro %}
