{#-
The two statements made of most columns, one test a table: a test per column would triple the length of the build.
A failing row names the column.
-#}
{% test never_null(model, columns) %}
{%- for column in columns %}
select '{{ column }}' as failing_column
from {{ model }}
where {{ column }} is null
{% if not loop.last %}union all{% endif %}
{%- endfor %}
{% endtest %}

{#- Null passes: unknown is allowed where never_null does not forbid it, below zero never is. -#}
{% test never_negative(model, columns) %}
{%- for column in columns %}
select '{{ column }}' as failing_column
from {{ model }}
where {{ column }} < 0
{% if not loop.last %}union all{% endif %}
{%- endfor %}
{% endtest %}
