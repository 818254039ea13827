{#-
From which part of a deployment-day's volume on the rows of calls stand for all of it. Below, tenants have what their calls
state and the rest is nobody's: a gateway that sees a tenth of the traffic says little of the other nine.
-#}
{% macro tenant_coverage_floor() -%}
    {{ return(0.5) }}
{%- endmacro %}

{#- The part of `amount` that `part` is of `whole`, in whole tokens and at most the amount; null where either is unknown. -#}
{% macro part_capped(amount, part, whole) -%}
    case
        when {{ part }} >= {{ whole }} and {{ whole }} > 0 then {{ amount }}
        else {{ part_of(amount, part, whole, 0) }}
    end
{%- endmacro %}
