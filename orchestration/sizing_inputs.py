"""What sizing reads: GPU facts of the seed, and models' `config.json` from a file, a folder, the ledger or the hub."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestration.seeds import seed_rows
from sizing.errors import SizingError
from sizing.gpus import Gpu, gpu_from_row
from sizing.model_config import Model, read_model_config

LARGEST_CONFIG_BYTES = 16 * 1024 * 1024
HUB_TIMEOUT_SECONDS = 10


def known_gpus() -> dict[str, Gpu]:
    """Canonical name -> what the GPU can do, of dbt/seeds/gpu_specifications.csv."""
    return {row["gpu_model"]: gpu_from_row(row) for row in seed_rows("gpu_specifications")}


def read_model(path: Path) -> Model:
    """Returns the model of `path`, a config.json or a folder that holds one.

    Raises:
        SizingError: there is no such file, it is no JSON, or it describes no model that can be sized.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        if file.stat().st_size > LARGEST_CONFIG_BYTES:
            raise SizingError(f"{file} has {file.stat().st_size:,} bytes; a config.json has a few thousand")
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SizingError(f"no file {file}; give the path of a model's config.json") from None
    except OSError as error:
        raise SizingError(f"{file} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SizingError(f"{file} is not UTF-8 text; give the path of a model's config.json") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise SizingError(f"{file} is no JSON ({error}); give the path of a model's config.json") from None
    try:
        return read_model_config(content)
    except SizingError as error:
        raise SizingError(f"{file}: {error}") from None


def find_model(name: str, configured: Mapping[str, Path], *, hub_url: str, token: str | None = None) -> Model:
    """Returns the model called `name`: a path, a model of the ledger's `sizing.models`, or an id at the hub.

    Raises:
        SizingError: it is none of these, or the hub does not answer.
    """
    if name in configured:
        return read_model(configured[name])
    path = Path(name)
    if path.exists():
        return read_model(path)
    if name.count("/") != 1 or name.endswith(".json") or name.startswith((".", "/", "~")):
        known = f"; the ledger names {', '.join(sorted(configured))}" if configured else ""
        raise SizingError(
            f"no file {name!r}: give a config.json, a folder that holds one, a model of sizing.models in ledger.yaml "
            f"or a hub id such as Qwen/Qwen3-8B{known}"
        )
    return read_model_config(_from_hub(name, hub_url, token))


def _from_hub(name: str, hub_url: str, token: str | None) -> Any:
    import requests

    url = f"{hub_url}/{name}/resolve/main/config.json"
    instead = f"download it from {url} and give the file's path"
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = requests.get(url, timeout=HUB_TIMEOUT_SECONDS, headers=headers)
    except requests.RequestException as error:
        raise SizingError(f"{name}: the hub does not answer ({type(error).__name__}); {instead}") from None
    if answer.status_code in {401, 403}:
        raise SizingError(f"{name}: the hub wants a login (HTTP {answer.status_code}); set HF_TOKEN, or {instead}")
    if answer.status_code != requests.codes.ok:
        raise SizingError(f"{name}: the hub answered HTTP {answer.status_code}; check the name, or {instead}")
    try:
        return answer.json()
    except requests.JSONDecodeError:
        raise SizingError(f"{name}: the hub answered no JSON; {instead}") from None
