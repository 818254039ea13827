{#-
Unit of a column by the words that end its name, for names carry units (docs/architecture.md); empty where none does:
cost_usd -> USD, tokens_per_second_per_gpu -> tokens per second per GPU.
-#}
{%- macro unit_of(column) -%}
    {%- set names = {
        "usd": "USD", "gpu": "GPU", "gpus": "GPUs", "gb": "GB", "gib": "GiB", "ms": "ms", "at": "instant, UTC",
        "date": "day, UTC", "ratio": "ratio, 1 is all", "count": "count", "tokens": "tokens", "seconds": "seconds",
        "hours": "hours", "days": "days", "weeks": "weeks", "months": "months", "replicas": "replicas",
        "watts": "W", "kwh": "kWh",
    } -%}
    {%- set parts = column.removesuffix("_at_utilization").removesuffix("_at_close").split("_per_") -%}
    {%- set measured = parts[0].split("_") -%}
    {%- set unit = "GPU-hours" if measured[-2:] == ["gpu", "hours"] else names.get(measured[-1], "") -%}
    {%- if unit and parts | length > 1 -%}
        {%- set per = [] -%}
        {%- for part in parts[1:] -%}
            {%- do per.append(part.replace("_", " ").replace("gpu hour", "GPU-hour").replace("instance hour",
                "instance-hour").replace("gpu", "GPU")) -%}
        {%- endfor -%}
        {{- return(unit ~ " per " ~ per | join(" per ")) -}}
    {%- endif -%}
    {{- return(unit) -}}
{%- endmacro -%}

{#- Names of the raw tables and seeds that a node is made from in the end, sorted. -#}
{%- macro origins_of(node) -%}
    {%- set queue, seen, origins = node.depends_on.get("nodes", []) | list, [], [] -%}
    {%- for _ in range(10000) if queue -%}
        {%- set id = queue.pop() -%}
        {%- if id not in seen -%}
            {%- do seen.append(id) -%}
            {%- if id.startswith("source.") -%}
                {%- do origins.append(id.split(".")[-2] ~ "." ~ id.split(".")[-1]) -%}
            {%- elif id.startswith("seed.") -%}
                {%- do origins.append("seeds." ~ id.split(".")[-1]) -%}
            {%- else -%}
                {%- do queue.extend(graph.nodes[id].depends_on.get("nodes", [])) -%}
            {%- endif -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(origins | sort) -}}
{%- endmacro -%}

{#- A text as SQL writes it, its line breaks as blanks. -#}
{%- macro text_literal(value) -%}
    '{{ value.split() | join(" ") | replace("'", "''") }}'
{%- endmacro -%}
