"""The kinds of inventory source that ledger.yaml can name, and which raw table their rows go to.

How a kind is read stands in `orchestration/inventory_files.py`.
"""

from typing import Literal

InventoryTable = Literal["inventory_nodes", "inventory_pods", "inventory_gpus"]

INVENTORY_KINDS: dict[str, InventoryTable] = {
    "kubernetes_nodes": "inventory_nodes",
    "kubernetes_pods": "inventory_pods",
    "dcgm": "inventory_gpus",
}
