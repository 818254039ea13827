{#- Null passes: unknown is allowed where not_null does not forbid it, below zero never is. -#}
{% test not_negative(model, column_name) %}
select {{ column_name }}
from {{ model }}
where {{ column_name }} < 0
{% endtest %}
