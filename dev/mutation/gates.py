"""Disable every gate, one at a time, and check that a test fails.

    make bench NAME=gates                        all of them; a survivor ends in exit code 4
    make bench NAME=gates ARGS="judge release"   only the gates of these modules (or rooms: ARGS=judging)
    make bench NAME=gates ARGS=--write           and dev/docs/gates.md anew

The gates are read from the source (dev/mutation/mutants.py): every place that makes a check, raises a refusal, enforces a
verdict or ends with an exit code. All tests run once with a note at every gate, which shows the tests that reach it with
something to refuse. Then each gate is opened alone, and those tests run until one fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import psutil
from mutants import Mutant, dotted, opened_make, switched
from rich.console import Console
from warm import Job, Told, Warm, main

from slipway.core import environment, files
from slipway.core.verdict import Check, Verdict
from slipway.errors import SlipwayError

ROOT = Path(__file__).resolve().parents[2]
RECORD = environment.cache_home(ROOT) / "gates.json"
PAGE = ROOT / "dev/docs/gates.md"
TESTS = Path("tests/machinery")
ALWAYS = ("gates/test_every_gate_refuses.py", "template/test_makefile.py", "template/test_workflows.py")
NEVER = {
    "sandbox/test_loop.py": "it takes minutes; gates/test_every_gate_refuses.py calls the functions that refuse",
}
LONGEST = ("test_prove", "test_verify", "test_every_gate_refuses", "test_champion", "test_in_cluster", "test_canary",
           "test_gitops_commit", "test_policy", "test_client", "test_gitops_pull_request", "test_package", "test_export",
           "test_load")  # fmt: skip
"""Names of the test files that take longest: they begin."""
talk = Console(stderr=True, highlight=False)


@dataclass(kw_only=True)
class Result:
    """The result of a mutant: the test that failed, by its assertion or because the code crashed; or why none did."""

    mutant: Mutant
    killed_by: str = ""
    crashes: bool = False
    why: str = ""
    tests: int = 0
    seconds: float = 0.0

    def take(self, told: Told) -> None:
        """Take over the result of its child process."""
        kinds = {kind: name for name, kind in reversed(told.red.items())}
        self.seconds = sum(told.seconds.values())
        self.killed_by = kinds.get("assert") or kinds.get("crash") or ""
        self.crashes = "assert" not in kinds and bool(self.killed_by)
        self.why = "hung" if told.hung or "hung" in kinds else "no test goes red" if told.seconds else told.said
        if "setup" in kinds:
            self.why = f"{kinds['setup']} breaks before it looks: {told.said[-300:]}"

    @property
    def words(self) -> str:
        """The result in one line."""
        red = f"{'crashes' if self.crashes else 'red'} in {self.killed_by}"
        return f"{red if self.killed_by else f'SURVIVES: {self.why}'} ({self.seconds:.1f} s)"


def copied(folder: Path) -> list[Mutant]:
    """Copy the project's files to `folder`, with switches; every mutant."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    sources = {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.glob("src/**/*.py")}
    made, found = switched(dict(sorted(sources.items())))
    for name, text in made.items():
        (folder / name).write_text(text, "utf-8")
    return [*found, *opened_make((folder / "Makefile").read_text("utf-8"))]


# In the warm process


def candidates(mutant: Mutant, reached: Mapping[str, set[str]], base: Mapping[str, Told], warm: Warm) -> list[str]:
    """The tests in which the mutant makes a difference, quick ones first.

    What a server noted while a test of a session or module used it belongs to every test that uses that server.
    """
    seconds = {name: s for told in base.values() for name, s in told.seconds.items()}
    names = {name for name in reached.get(mutant.name, ()) if name in warm.items}
    live = {fixture for told in base.values() for fixture in told.live}
    for name in list(names):
        file, shared = name.partition("::")[0], live & _fixtures(warm, name)
        names |= {each for each in warm.items if each.startswith(f"{file}::") and shared & _fixtures(warm, each)}
    red = {name for told in base.values() for name in told.red}
    return sorted(names - red, key=lambda name: seconds.get(name, 0.0))


def _fixtures(warm: Warm, name: str) -> set[str]:
    return set(getattr(warm.items[name], "fixturenames", ()))


def baseline(warm: Warm, notes: Path) -> dict[str, Told]:
    """Run all tests without a mutant, one job a file, the longest files first."""
    by_file: dict[str, list[str]] = {}
    for name in warm.items:
        by_file.setdefault(name.partition("::")[0], []).append(name)
    env = {"SLIPWAY_REACHED": str(notes)}
    first = [name for name, item in warm.items.items() if "project" in getattr(item, "fixturenames", ())][:1]
    for _ in warm.run([Job("first", first)] if first else []):
        pass  # its folders are what most other files begin with
    jobs = [Job(file, tests, env, until_red=False, most_seconds=120) for file, tests in by_file.items()]
    jobs.sort(key=lambda job: next((i for i, word in enumerate(LONGEST) if word in job.key), len(LONGEST)))
    found = {}
    for job, told in warm.run(jobs):
        found[job.key] = told
        talk.print(f"{job.key}: {len(told.seconds)} tests, {sum(told.seconds.values()):.1f} s", markup=False)
        if told.red or len(told.seconds) < len(job.tests):
            lost, red = len(job.tests) - len(told.seconds), ", ".join(told.red)
            talk.print(f"  {lost} did not run, red without any mutant: {red or 'none'}\n{told.said}", markup=False)
    return found


def judged(mutants: Sequence[Mutant], warm: Warm, notes: Path) -> tuple[list[Result], list[str]]:
    """Run every mutant against its tests; the results, and the tests that fail without a mutant."""
    base = baseline(warm, notes)
    reached: dict[str, set[str]] = {}
    for path in notes.iterdir():
        for row in path.read_text("utf-8").splitlines():
            name, _, test = row.partition("\t")
            reached.setdefault(name, set()).add(test)
    found = {mutant.name: Result(mutant=mutant, why="no test makes it say no") for mutant in mutants}
    seconds = {name: s for told in base.values() for name, s in told.seconds.items()}
    jobs = []
    for mutant in mutants:
        if tests := candidates(mutant, reached, base, warm):
            found[mutant.name].tests = len(tests)
            longest = max(seconds.get(test, 0.0) for test in tests)
            jobs.append(Job(mutant.name, tests, {"SLIPWAY_MUTANT": mutant.name}, most_seconds=20 + 5 * longest))
    for job, told in chain(warm.run(jobs), shell(mutants, warm)):
        found[job.key].take(told)
        talk.print(f"{job.key} {found[job.key].words}", markup=False, soft_wrap=True)
    return list(found.values()), [name for told in base.values() for name in told.red]


def shell(mutants: Sequence[Mutant], warm: Warm) -> Iterator[tuple[Job, Told]]:
    """Run the mutants of the Makefile, one after another, against the tests that have the verb in their name."""
    place = Path("Makefile")
    for mutant, text in opened_make(kept := place.read_text("utf-8")).items():
        verb = mutant.gate.partition(" ")[2]
        tests = [name for name in warm.items if f"_{verb}_" in name.partition("::")[2].partition("[")[0]]
        if mutant in mutants and tests:
            place.write_text(text, "utf-8")
            yield from warm.run([Job(mutant.name, tests)])
            place.write_text(kept, "utf-8")


def inside(scratch: Path) -> int:
    """Run the mutants of `scratch`/mutants.json in the copy, and write `scratch`/results.json."""
    listed = json.loads((scratch / "mutants.json").read_text("utf-8"))
    mutants = [Mutant(**each) for each in listed]
    (scratch / "notes").mkdir()
    (scratch / "jobs").mkdir()

    def work(warm: Warm) -> None:
        results, red = judged(mutants, warm, scratch / "notes")
        record = {"results": [asdict(result) for result in results], "red": red}
        (scratch / "results.json").write_text(json.dumps(record), "utf-8")

    return main(tests_of({mutant.file for mutant in mutants}), scratch / "jobs", work)


def tests_of(files: Iterable[str]) -> list[str]:
    """The test files of the rooms that these source files are in, of the problem, and ALWAYS; none of NEVER."""
    rooms = {Path(file).parent for file in files}
    folders = [TESTS / room.relative_to("src/slipway") for room in rooms if room.is_relative_to("src/slipway")]
    tests = {path for folder in [*folders, Path("tests/project")] for path in folder.glob("test_*.py")}
    tests |= {TESTS / name for name in ALWAYS}
    return sorted(str(path) for path in tests - {TESTS / name for name in NEVER})


# The report


def table(results: Iterable[Result]) -> str:
    """The gates as a Markdown table, one row each."""
    gates: dict[str, list[Result]] = {}
    for result in results:
        gates.setdefault(result.mutant.gate, []).append(result)
    rows = [
        "| gate | says no by | opened | noticed | by a crash | for instance in |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for gate, held in sorted(gates.items()):
        kinds = ", ".join(sorted({each.mutant.kind for each in held}))
        red = [each for each in held if each.killed_by]
        by = red[0].killed_by.removeprefix("tests/machinery/").partition("[")[0].replace("::", ", ") if red else ""
        rows.append(f"| `{gate}` | {kinds} | {len(held)} | {len(red)} | {sum(e.crashes for e in held) or ''} | {by} |")
    return "\n".join(rows)


def verdict(results: Sequence[Result], red: Sequence[str], seconds: float) -> Verdict:
    """The verdict: passes when every mutant without an excuse was noticed, and no test fails by itself."""
    wanted = [each for each in results if not each.mutant.excuse]
    survivors = [f"{each.mutant.file}:{each.mutant.line} ({each.why})" for each in wanted if not each.killed_by]
    stale = [f"{e.mutant.file}:{e.mutant.line}" for e in results if e.mutant.excuse and e.killed_by]
    killed = len(wanted) - len(survivors)
    checks = [
        Check(name="gates noticed when open", value=f"{killed} of {len(wanted)}", limit="all",
              ok=not survivors if wanted else None),
        Check(name="excuses of gates that are noticed", value=", ".join(stale) or "none", limit="none", ok=not stale),
        Check(name="tests red without any mutant", value=", ".join(red) or "none", limit="none", ok=None if red else True),
    ]  # fmt: skip
    notes = {"survivors": survivors, "excused": [f"{e.mutant.file}:{e.mutant.line}: {e.mutant.excuse}"
                                                 for e in results if e.mutant.excuse]}  # fmt: skip
    return Verdict(chapter="gates", checks=checks, rows=len(wanted), seconds=seconds, notes=notes)


def run(words: Sequence[str], *, write: bool) -> None:
    """Copy the project, open its gates, report; exit 4 when an open gate is not noticed, 5 when a test fails anyway."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="slipway-gates-") as name:
        scratch, project = Path(name), Path(name) / "project"
        mutants = [m for m in copied(project) if not words or chosen(m.file, words)]
        files.write_json(scratch / "mutants.json", [asdict(mutant) for mutant in mutants])
        talk.print(f"{len(mutants)} places can say no")
        env = environment.for_programs(
            project, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", SLIPWAY_GATES=str(scratch)
        )
        env["PYTHONPATH"] = os.pathsep.join([str(project / "src"), str(project / "tests/machinery/problems")])
        command = [sys.executable, str(project / "dev/mutation/gates.py"), "--inside", str(scratch)]
        try:
            done = subprocess.run(command, cwd=project, env=env, stdout=sys.stderr, check=False)
        finally:
            stop(str(scratch))
        if not (scratch / "results.json").exists():
            sys.exit(done.returncode or 1)
        record = files.read_json(scratch / "results.json")
    results = [Result(**each | {"mutant": Mutant(**each["mutant"])}) for each in record["results"]]
    found = verdict(results, record["red"], time.monotonic() - started)
    files.write_json(RECORD, found.record() | {"results": record["results"]})
    said = table(results)
    print(said)
    for line in [*found.notes["survivors"], *found.notes["excused"]]:
        print(f"- {line}")
    talk.print(f"{found.checks[0].value} opened gates noticed in {found.seconds:.0f} s")
    try:
        found.enforce(hint="write a test with a bad input that this gate alone refuses")
    except SlipwayError as error:
        talk.print(f"{error}; next: {error.hint}", markup=False, soft_wrap=True)
        sys.exit(error.code)
    if write and not words:
        PAGE.write_text(page(said, found), "utf-8")


def chosen(file: str, words: Sequence[str]) -> bool:
    """Return whether a source file is named by its module's name (`judge`), its room's (`judging`) or both (`judging.judge`)."""
    module = dotted(file).removeprefix("slipway.")
    return any(f".{word}." in f".{module}." for word in words)


def stop(scratch: str) -> None:
    """Kill what a hung test left running: processes with this run's SLIPWAY_GATES."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("SLIPWAY_GATES") == scratch:
                process.kill()


def page(said: str, found: Verdict) -> str:
    """The text of dev/docs/gates.md."""
    excused = "\n".join(f"- {line}" for line in found.notes["excused"]) or "None."
    return f"""# Gates that really close

Written by `make bench NAME=gates ARGS=--write`; do not edit.

Every check in `src` and the Makefile was disabled, one at a time, and at least one test had to fail.
The gates are read from the source, not chosen by hand. A gate makes a check (`Check(…)`, and every call of a helper that
returns checks or links of `verify`'s chain), finds a link's source invalid (`Invalid(…)`), raises a refusal (every error
but `ConfigError`, which is about settings), enforces a verdict, returns `fail` or `unsure`, or ends with an exit code.
`dev/mutation/mutants.py` finds them, `dev/mutation/gates.py` opens them. Tests that need a cluster take no part.

**{found.checks[0].value}** opened gates were noticed. Where a refusal stands in an `except`, the code after it has nothing
to continue with: opened, it crashes instead, which is counted in its own column.

{said}

## Excused

Places marked `# no gate: reason` in the source.

{excused}
"""


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        sys.exit(inside(Path(sys.argv[2])))
    run([word for word in sys.argv[1:] if word != "--write"], write="--write" in sys.argv)
