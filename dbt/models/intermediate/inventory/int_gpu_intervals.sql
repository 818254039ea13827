{{ config(
    materialized="incremental",
    incremental_strategy="replace_open_intervals",
    on_schema_change="fail",
    meta={"kind": "dcgm"},
) }}

{{ intervals_of_sightings(
    kind="dcgm",
    sightings="stg_inventory__gpus",
    state=["gpu_uuid", "gpu_instance", "mig_profile", "gpu_name_raw", "namespace", "pod_name"],
    kept=[],
) }}
