{#- From what the project says of itself: `graph` is there only when dbt runs. -#}
{%- set rows = [] %}
{%- if execute %}
    {%- for node in graph.nodes.values()
        if node.resource_type == "model" and node.fqn[1] == "marts" %}
        {%- set made_from, origins = [], origins_of(node) | join(", ") %}
        {%- for id in node.depends_on.get("nodes", []) %}{% do made_from.append(id.split(".")[-1]) %}{% endfor %}
        {%- for column in node.columns.values() %}
            {%- do rows.append([
                node.name, loop.index | string, column.name, column.data_type, unit_of(column.name), column.description,
                node.description, node.fqn[2], made_from | sort | join(", "), origins
            ]) %}
        {%- endfor %}
    {%- endfor %}
{%- endif %}
select
    cast(table_name as varchar) as table_name,
    cast(column_number as integer) as column_number,
    cast(column_name as varchar) as column_name,
    cast(data_type as varchar) as data_type,
    cast(nullif(unit, '') as varchar) as unit,
    cast(meaning as varchar) as meaning,
    cast(table_meaning as varchar) as table_meaning,
    cast(subject as varchar) as subject,
    cast(made_from as varchar) as made_from,
    cast(origins as varchar) as origins
from
    (
        values
        {%- for row in rows %}
        ({% for text in row %}{{ text_literal(text) }}{{ ", " if not loop.last }}{% endfor %}){{ "," if not loop.last }}
        {%- endfor %}
    ) as described (
        table_name, column_number, column_name, data_type, unit, meaning, table_meaning, subject, made_from, origins
    )
