"""`status`: write the status page of a project from Git alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slipway.core import files, git, ledger
from slipway.core.git import run as run_git
from slipway.records import git_branch, records_branch
from slipway.reporting import jinja_environment
from slipway.reporting.status_page import status_data, timeline
from slipway.reporting.status_page.status_data import Panel, Status

FOLDER = Path("reports/status")
WIDTH, HEIGHT = 280, 60
"""The size of a panel's picture."""


def web_address(root: Path) -> str:
    """The address of origin's page on GitHub; empty if origin is another place or there is none."""
    url = run_git("config", "--default", "", "--get", "remote.origin.url", root=root).removesuffix(".git")
    name = (
        url.removeprefix("https://").removeprefix("ssh://").removeprefix("git@").replace("github.com:", "github.com/")
    )
    name = name.rpartition("@")[2]
    return f"https://{name}" if name.startswith("github.com/") and name.count("/") == 2 else ""


def page(status: Status, *, title: str, head: str, records_commit: str | None, web: str = "") -> str:
    """The page as HTML: one file, no script, nothing loaded from anywhere."""
    pictures = [(panel, polyline(panel)) for panel in status.panels]
    records = f"{web}/blob/{records_commit}/{git_branch.FILE}" if web and records_commit else ""
    return jinja_environment.render("status.html.j2", status=status, title=title, head=head, pictures=pictures, web=web,
                                    records_commit=records_commit, records=records, width=WIDTH, height=HEIGHT,
                                    lanes=timeline.make_lanes(status), lane=timeline)  # fmt: skip


def polyline(panel: Panel) -> str:
    """The points of a panel's curve, as an SVG polyline takes them."""
    values = [value for _, value in panel.points]
    low, span = min(values), (max(values) - min(values)) or 1.0
    step = (WIDTH - 8) / max(len(values) - 1, 1)
    return " ".join(
        f"{4 + n * step:.1f},{HEIGHT - 6 - (HEIGHT - 12) * (v - low) / span:.1f}" for n, v in enumerate(values)
    )


def newest_main(root: Path) -> str:
    """The newest commit of the main branch as last fetched from origin; HEAD if it contains that, or there is none."""
    fetched = git.find_commit(f"refs/remotes/origin/{git.default_branch(root)}", root=root)
    return fetched if fetched and not git.is_ancestor(fetched, "HEAD", root=root) else git.commit_hash(root=root)


def run(title: str, *, folder: Path = FOLDER, root: Path = Path()) -> str:
    """Write `index.html` into `folder`; return a sentence. DataError if a ledger or the records branch is damaged."""
    head = newest_main(root)
    ledgers: dict[str, Sequence[ledger.Line]] = {env: ledger.read_at(env, head, root) for env in ledger.ENVIRONMENTS}
    records = records_branch.read(root)
    status = status_data.gather(ledgers, records)
    commit = records_branch.newest_commit(root)
    text = page(status, title=title, head=head, records_commit=commit, web=web_address(root))
    target = files.make_folder(folder if folder.is_absolute() else root / folder) / "index.html"
    files.write_text(target, text)
    lines = sum(map(len, ledgers.values()))
    return f"{folder / 'index.html'}: {lines} ledger lines and {len(records)} records at commit {head[:12]}"
