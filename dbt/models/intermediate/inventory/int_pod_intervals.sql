{{ config(
    materialized="incremental",
    incremental_strategy="replace_open_intervals",
    on_schema_change="fail",
    meta={"kind": "kubernetes_pods"},
) }}

{{ intervals_of_sightings(
    kind="kubernetes_pods",
    sightings="stg_inventory__pods",
    state=[
        "pod_uid", "namespace", "pod_name", "node_name", "labels", "gpu_requests", "has_resource_claims",
    ],
    kept=["owner_kind", "owner_name", "pod_ip_digest"],
) }}
