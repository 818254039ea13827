{#- In the seed engine_metrics: counters of this preference are a frontend's, which tells of the engines behind it. -#}
{% macro frontend_preference() -%}
    9
{%- endmacro %}

{#-
Classes of usage by how a replica exposes them: prompt, output and requests are in all pages of an engine or in none; the
others came with a release, so they are known from their first hour to their last.
-#}
{% macro page_classes() -%}
    {{ return(["prompt_tokens", "output_tokens", "successful_requests"]) }}
{%- endmacro %}

{% macro released_classes() -%}
    {{ return([
        "cached_tokens", "prefix_cache_hits", "failed_requests", "aborted_requests", "prefill_seconds", "decode_seconds"
    ]) }}
{%- endmacro %}
