{#-
What DuckDB may take of the machine, set once for all connections of a dbt command. The environment variables are those
of the rest of a run; what each may be is said, and checked, in orchestration/settings.py (duckdb_config).
-#}
{% macro set_limits() -%}
    {{ return(adapter.dispatch("set_limits")()) }}
{%- endmacro %}

{% macro default__set_limits() -%}{%- endmacro %}

{% macro duckdb__set_limits() -%}
    set memory_limit = '{{ env_var("LEDGER_MEMORY_LIMIT", "") or "60%" }}';
    {% if env_var("LEDGER_THREADS", "") -%} set threads = {{ env_var("LEDGER_THREADS") | int }}; {%- endif %}
    {% if env_var("LEDGER_TEMP_DIRECTORY", "") -%}
    set temp_directory = '{{ env_var("LEDGER_TEMP_DIRECTORY") | replace("'", "''") }}';
    {%- endif %}
{%- endmacro %}
