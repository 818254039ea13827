"""Options that every command of `inference-ledger` has."""

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="The ledger to read.  [default: ledger.yaml]", show_default=False),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Where everything is written.  [default: data beside it]", show_default=False),
]
