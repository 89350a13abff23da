"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Environment = Literal["staging", "production"]
EvidenceSource = Literal["machine", "cluster", "status"]

Base = Annotated[
    str | None,
    typer.Option(help="Commit, branch or tag to compare with. Default: origin/main, else main.", metavar="REVISION"),
]
Push = Annotated[
    bool,
    typer.Option(
        "--push",
        help="Push to main, or open a pull request if release.mode says so. Without it: one local commit.",
    ),
]
Source = Annotated[
    EvidenceSource | None,
    typer.Option(
        help="Where to read the load-test result: reports/load.json of this machine, the load test in the cluster, or "
        "the commit status on GitHub. Default: status for a release with an image, else machine."
    ),
]
Env = Annotated[Environment, typer.Option(help="The environment.")]
