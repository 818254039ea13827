{#-
What is said of most columns, in one test a table: a test per statement would double the length of the build. A failing
row names the rule and its columns.
    key             the columns together identify a row; nulls count as a value
    never_null
    never_negative  null passes: unknown is allowed where never_null does not forbid it, below zero never is
-#}
{% test rows_hold(model, key=[], never_null=[], never_negative=[]) %}
{%- for column in never_null %}
select 'never_null' as rule_name, '{{ column }}' as column_names
from {{ model }}
where {{ column }} is null
union all
{%- endfor %}
{%- for column in never_negative %}
select 'never_negative' as rule_name, '{{ column }}' as column_names
from {{ model }}
where {{ column }} < 0
union all
{%- endfor %}
select 'key' as rule_name, '{{ key | join(", ") }}' as column_names
from {{ model }}
{%- if key %}
group by {{ key | join(", ") }}
having count(*) > 1
{%- else %}
where false
{%- endif %}
{% endtest %}
