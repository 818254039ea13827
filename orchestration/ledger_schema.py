"""ledger.schema.json: what editors complete ledger.yaml by. `check-config` also knows what its fields mean together.

`make docs` (`python -m orchestration.ledger_schema`) writes it; a test fails while it differs.
"""

import json

from orchestration.settings import PROJECT_ROOT, Ledger

SCHEMA = PROJECT_ROOT / "ledger.schema.json"


def ledger_schema() -> str:
    """Returns the text of the JSON Schema."""
    stated = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Ledger.model_json_schema()}
    return json.dumps(stated, indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(ledger_schema(), encoding="utf-8")
