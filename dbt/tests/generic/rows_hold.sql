{#-
What is said of most columns, in one test a table: a test per statement would double the length of the build. A failing
row names the rule and its columns.
    key             the columns together identify a row; nulls count as a value
    never_null
    never_negative  null passes: unknown is allowed where never_null does not forbid it, below zero never is
    accepted_values  column: the words it may hold; null passes
-#}
{% test rows_hold(model, key=[], never_null=[], never_negative=[], accepted_values={}) %}
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
{%- for column, words in accepted_values.items() %}
select 'accepted_values' as rule_name, '{{ column }}' as column_names
from {{ model }}
where {{ column }} not in ('{{ words | join("', '") }}')
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
