{{ config(
    materialized="incremental",
    incremental_strategy="replace_open_intervals",
    on_schema_change="fail",
    meta={"kind": "kubernetes_nodes"},
) }}

{{ intervals_of_sightings(
    kind="kubernetes_nodes",
    sightings="stg_inventory__nodes",
    state=["node_uid", "node_name", "provider_id", "labels", "gpu_capacity"],
    kept=[],
) }}
