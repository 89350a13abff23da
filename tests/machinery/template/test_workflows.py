"""The workflows as written: what act ignores (permissions, pins, time-outs, concurrency) and what each `run:` types."""

from __future__ import annotations

import json
import os
import re
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from slipway.core import git
from slipway.delivery import release
from support import committed_project
from support.paths import ROOT

GITHUB = ROOT / ".github"
FILES = sorted(GITHUB.glob("workflows/*.yml"))
ACTIONS = sorted(GITHUB.glob("actions/*/action.yml"))
TRIGGERS = {"pull_request", "push", "workflow_call", "workflow_run", "workflow_dispatch", "schedule", "status"}
"""`pull_request_target` and the comment events would run in the base's name on a stranger's word."""
TOKENS = (
    "make comment",
    "make image",
    "make gate",
    "make release",
    "make promote",
    "make rollback",
    "make policy",
    "make monitor",
)
PULL_REQUEST = "github.event_name == 'pull_request'"
UPSTREAM = "!github.event.repository.is_template"
"""The guard of whatever deploys: the template itself has nowhere to go."""
each = pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
every = pytest.mark.parametrize("path", [*FILES, *ACTIONS], ids=lambda p: p.stem if p in FILES else p.parent.name)


def load(path: Path) -> dict[str, Any]:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def steps(path: Path) -> list[dict[str, Any]]:
    """All steps of a workflow or of an action."""
    written = load(path)
    jobs = written["jobs"].values() if "jobs" in written else [written["runs"]]
    return [step for job in jobs for step in job.get("steps", [])]


def grants(job: dict[str, Any]) -> dict[str, str]:
    return job.get("permissions") or {}


def runs(path: Path) -> list[str]:
    return [step["run"] for step in steps(path) if "run" in step]


# What each workflow says


def test_workflows_are_few_and_known() -> None:
    names = {path.stem for path in FILES}
    assert {"check", "model", "comment"} <= names
    assert names <= {"check", "model", "comment", "release", "promote", "retrain", "e2e"}
    assert ACTIONS == [GITHUB / "actions/setup/action.yml"]


@every
def test_file_is_short_and_says_trigger_and_effect(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 100
    assert re.fullmatch(r"# \w.+ → \w.+", lines[0])
    assert load(path)["name"] in (path.stem, path.parent.name)


@each
def test_only_trusted_triggers(path: Path) -> None:
    on = load(path)["on"]
    assert set(on) <= TRIGGERS
    assert (on.get("push") or {"branches": ["main"]})["branches"] == ["main"]


@each
def test_every_grant_is_on_its_job_with_a_reason(path: Path) -> None:
    assert load(path)["permissions"] == {}
    for name, job in load(path)["jobs"].items():
        assert grants(job), f"{name} does not say what it may do"
        assert set(grants(job).values()) <= {"read", "write"}
    lines = [line for line in path.read_text("utf-8").splitlines() if re.search(r"\b[a-z-]+: (read|write)\b", line)]
    assert [line for line in lines if not re.search(r"# \w+ \w+", line)] == []


@each
def test_untrusted_code_never_holds_a_writing_token(path: Path) -> None:
    writing = [name for name, job in load(path)["jobs"].items() if "write" in grants(job).values()]
    assert not writing or not {"pull_request", "workflow_call"} & set(load(path)["on"])
    inputs = [step.get("with", {}) for step in steps(path) if "checkout" in step.get("uses", "")]
    assert not writing or not any({"ref", "repository"} & set(given) for given in inputs)


@every
def test_actions_are_pinned_by_commit(path: Path) -> None:
    uses = re.findall(r"\buses: *(.*)", path.read_text(encoding="utf-8"))
    pinned = re.compile(r"[\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [use for use in uses if not use.startswith("./.github/") and not pinned.fullmatch(use)] == []


def test_an_action_has_one_version() -> None:
    uses = {use for path in [*FILES, *ACTIONS] for use in re.findall(r"uses: *([\w/-]+@.*)", path.read_text("utf-8"))}
    pins = {("/".join(use.split("@")[0].split("/")[:2]), use.split("@")[1]) for use in uses}
    assert len(pins) == len({name for name, _ in pins})


@each
def test_jobs_have_timeouts(path: Path) -> None:
    for job in load(path)["jobs"].values():
        assert "uses" in job or 0 < job["timeout-minutes"] <= 60


@each
def test_a_newer_run_cancels_pull_requests_never_main(path: Path) -> None:
    written = load(path)
    group, cancel = (written["concurrency"][key] for key in ("group", "cancel-in-progress"))
    assert group.startswith(f"{path.stem}-${{{{ ")
    if "workflow_run" in written["on"]:  # one after another: what it writes outside must not be cut in two
        assert cancel is False
        assert "head_repository.full_name" in group
        assert "head_branch" in group
    elif path.stem == "release":  # the run that waits holds the commits of the one it replaces
        assert cancel is False
        assert group == "release-${{ github.ref }}"
    elif path.stem == "promote":  # a waiting run is replaced by a later one of its group: a status has its own
        assert cancel is False
        assert group == "promote-${{ github.event_name == 'status' && github.event.id || inputs.environment }}"
    elif path.stem == "retrain":  # both runs would append verdicts about the same days
        assert cancel is False
        assert group == "retrain-${{ github.ref }}"
    else:  # a group of one commit: not even a waiting run of main is replaced
        assert cancel == f"${{{{ {PULL_REQUEST} }}}}"
        assert group.endswith(f"{PULL_REQUEST} && github.ref || github.sha }}}}")


@every
def test_run_is_one_verb_of_make(path: Path) -> None:
    verbs = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert runs(path) or "jobs" not in load(path)
    for run in runs(path):
        said = re.fullmatch(r"make ([a-z-]+)", run)
        assert said, f"{run!r} is more than a verb, or has something interpolated"
        assert said[1] in verbs


@every
def test_run_blocks_are_clean_shell(path: Path) -> None:
    for run in runs(path):
        assert shellcheck(run) == ""


def shellcheck(script: str) -> str:
    command = ["shellcheck", "--shell=bash", "--severity=style", "-"]
    return subprocess.run(command, input=script, capture_output=True, text=True, check=False).stdout


def test_shellcheck_finds_an_unquoted_word() -> None:
    assert "SC2086" in shellcheck("make $BASE")


@every
def test_checkouts_keep_no_credentials(path: Path) -> None:
    for step in steps(path):
        if "actions/checkout@" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


@every
def test_only_main_saves_caches(path: Path) -> None:
    for step in steps(path):
        assert "actions/cache@" not in step.get("uses", ""), "it saves for whoever runs"
        if "actions/cache/save@" in step.get("uses", ""):
            assert step["if"].startswith("github.event_name == 'push' && ")


# Nothing that failed goes on


def unjudged(path: Path) -> list[str]:
    """Conditions that go on after a failure, other than the judge of all jobs and the keeper of a verdict's report."""
    jobs = load(path).get("jobs", {})
    judges = [job for job in jobs.values() if set(job.get("needs", [])) == set(jobs) - {"ok"} and _judges(job)]
    found = [job["if"] for job in jobs.values() if "if" in job and job not in judges]
    for step in steps(path):
        said, ids = str(step.get("if", "")), [s["id"] for s in steps(path) if s.get("run") == "make review"]
        evidence = "upload-artifact@" in step.get("uses", "") and f"steps.{ids[0]}.outcome" in said if ids else False
        found += [said] if not evidence else []
    return [said for said in found if re.search(r"\b(always|failure|cancelled)\(", str(said))]


def _judges(job: dict[str, Any]) -> bool:
    return [step["run"] for step in job.get("steps", []) if "run" in step] == ["make ok"]


@every
def test_nothing_goes_on_after_a_failure_unjudged(path: Path) -> None:
    assert unjudged(path) == []
    assert "continue-on-error" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("if: needs.changes.outputs.code == 'true'", "if: always()"),
        ("run: make ok", "run: make check"),
        ("needs: [changes, check, project, test, model]", "needs: [changes, check, project, test]"),
        ("- run: make test", "- run: make test\n        if: failure()"),
    ],
)
def test_an_unjudged_condition_is_found(tmp_path: Path, was: str, becomes: str) -> None:
    text = (GITHUB / "workflows/check.yml").read_text(encoding="utf-8")
    assert was in text
    (tmp_path / "check.yml").write_text(text.replace(was, becomes), encoding="utf-8")
    assert unjudged(tmp_path / "check.yml")


@each
def test_what_deploys_is_guarded_upstream(path: Path) -> None:
    assert unguarded(load(path)) == []


def unguarded(workflow: dict[str, Any]) -> list[str]:
    """Jobs that can write code, packages or identity tokens and would also do so in the template itself."""
    strong = {"contents", "packages", "id-token", "pages", "deployments"}
    able = {name: job for name, job in workflow["jobs"].items() if any(grants(job).get(s) == "write" for s in strong)}
    return [name for name, job in able.items() if UPSTREAM not in job.get("if", "")]


def test_a_job_that_deploys_without_a_guard_is_found() -> None:
    job = {"permissions": {"contents": "write"}}
    guarded = {"permissions": {"contents": "write"}, "if": f"${{{{ {UPSTREAM} }}}}"}
    assert unguarded({"jobs": {"bare": job, "guarded": guarded}}) == ["bare"]


# `ok`, the one required check


def make(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    keep = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    command = ["make", "-f", str(ROOT / "Makefile"), *words]
    return subprocess.run(command, cwd=folder, env=keep | env, capture_output=True, text=True, check=False, timeout=60)


def test_ok_hears_every_job() -> None:
    jobs = load(GITHUB / "workflows/check.yml")["jobs"]
    assert set(jobs["ok"]["needs"]) == set(jobs) - {"ok"}
    assert jobs["ok"]["if"] == "always()"
    judged = jobs["ok"]["steps"][-1]
    assert judged["run"] == "make ok"
    results = {name.upper(): f"${{{{ needs.{name}.result }}}}" for name in set(jobs) - {"ok"}}
    assert judged["env"] == results | {"CODE": "${{ needs.changes.outputs.code }}"}


RESULTS = ("success", "failure", "cancelled", "skipped", "")
NEEDED = ("PROJECT", "TEST", "MODEL")
WHOLE = {"CHANGES": "success", "CHECK": "success", "CODE": "true", **dict.fromkeys(NEEDED, "success")}
PROSE = WHOLE | {"CODE": "false", **dict.fromkeys(NEEDED, "skipped")}
BENT = [
    green | {job: result}
    for green, job, result in product((WHOLE, PROSE), ("CHANGES", "CHECK", *NEEDED), RESULTS)
    if green[job] != result
] + [
    green | {"CODE": code}
    for green, code in product((WHOLE, PROSE), ("true", "false", "", "maybe", "true success"))
    if green["CODE"] != code
]


@pytest.mark.parametrize("results", [WHOLE, PROSE])
def test_ok_is_green_when_all_that_was_needed_succeeded(results: dict[str, str], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert make(tmp_path, "ok", GITHUB_STEP_SUMMARY=str(page), **results).returncode == 0
    skipped = "Only documentation changed" in page.read_text("utf-8")
    assert (len(page.read_text("utf-8").splitlines()), skipped) == (1, results is PROSE)


@pytest.mark.parametrize("results", [*BENT, {}], ids=lambda given: "-".join(given.values()) or "nothing")
def test_ok_is_red_for_every_single_other_result(results: dict[str, str], tmp_path: Path) -> None:
    said = make(tmp_path, "ok", GITHUB_STEP_SUMMARY=str(tmp_path / "page.md"), **results)
    assert said.returncode == 2
    assert "open the failed job" in (tmp_path / "page.md").read_text("utf-8")
    assert "did not succeed" in said.stderr


# `changes`: whether there is anything to test


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    for name in ("README.md", "docs/a.md", "src/a.py", "src/a.md", "LICENSE"):
        write(tmp_path, name, name)
    committed_project.commit(tmp_path)
    return tmp_path


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


def code(folder: Path, base: str = "HEAD^1") -> str:
    out = folder / ".git/output"
    out.write_text("earlier=1\n")
    said = make(folder, "changes", BASE=base, GITHUB_OUTPUT=str(out))
    assert said.returncode == 0, said.stderr
    assert out.read_text() == f"earlier=1\n{said.stdout}"
    return said.stdout.strip().removeprefix("code=")


@pytest.mark.parametrize(
    ("changed", "answer"),
    [
        (["README.md"], "false"),
        (["docs/a.md", "docs/new/picture.svg", "LICENSE", ".github/help.md"], "false"),
        (["src/a.py"], "true"),
        (["docs/a.md", "src/a.py"], "true"),
        (["src/a.md"], "true"),  # a template, perhaps
        (["docs.py"], "true"),
        (["docs\n.py"], "true"),
        (["docs/a b\n$(touch pwned).md"], "false"),
        (["$(touch pwned)`touch pwned`.py"], "true"),
        (["src/docs/a.md"], "true"),
        (["src/LICENSE"], "true"),
        ([".github/workflows/check.yml"], "true"),
    ],
)
def test_only_prose_is_not_code(scratch: Path, changed: list[str], answer: str) -> None:
    for name in changed:
        write(scratch, name, "new")
    committed_project.commit(scratch)
    assert code(scratch) == answer
    assert not list(scratch.rglob("pwned"))


def test_a_moved_or_deleted_module_is_code(scratch: Path) -> None:
    git.run("mv", "src/a.py", "docs/b.md", root=scratch)
    committed_project.commit(scratch)
    assert code(scratch) == "true"
    git.run("rm", "-q", "docs/b.md", root=scratch)
    committed_project.commit(scratch)
    assert code(scratch) == "false"


def test_a_merge_commit_is_compared_with_its_first_parent(scratch: Path) -> None:
    git.run("checkout", "-q", "-b", "prose", root=scratch)
    write(scratch, "README.md", "better")
    committed_project.commit(scratch)
    git.run("checkout", "-q", "main", root=scratch)
    write(scratch, "src/a.py", "meanwhile")
    committed_project.commit(scratch)
    git.run("merge", "-q", "--no-ff", "-m", "merge", "prose", root=scratch)
    assert code(scratch) == "false"
    assert code(scratch, "HEAD^2") == "true"


@pytest.mark.parametrize(
    "base", ["", "gone", "0" * 40, "--help", "HEAD^1; touch pwned", "$(touch pwned)", "$(shell touch pwned)"]
)
def test_what_cannot_be_told_is_code(scratch: Path, base: str) -> None:
    write(scratch, "README.md", "new")
    committed_project.commit(scratch)
    assert code(scratch, base) == "true"
    assert not list(scratch.rglob("pwned"))


@pytest.mark.parametrize(("name", "verb"), [("check", "changes"), ("model", "review")])
def test_base_is_what_the_merge_commit_was_made_with(name: str, verb: str) -> None:
    (step,) = [step for step in steps(GITHUB / f"workflows/{name}.yml") if step.get("run") == f"make {verb}"]
    assert step["env"] == {"BASE": f"${{{{ {PULL_REQUEST} && 'HEAD^1' || '' }}}}"}


def test_policy_compares_a_push_with_what_main_was() -> None:
    job = load(GITHUB / "workflows/check.yml")["jobs"]["check"]
    (step,) = [step for step in job["steps"] if step.get("run") == "make policy"]
    assert step["env"] == {
        "BASE": f"${{{{ {PULL_REQUEST} && 'HEAD^1' || github.event.before }}}}",
        "GITHUB_TOKEN": "${{ github.token }}",
    }
    assert "if" not in step
    assert grants(job)["statuses"] == "read"
    assert job["steps"][0]["with"]["fetch-depth"] == 0, "evidence may be on any commit of main"


def test_promotion_hears_the_status_that_params_name() -> None:
    (job,) = load(GITHUB / "workflows/promote.yml")["jobs"].values()
    limits = load(ROOT / "params.yaml")["release"]
    for said in (f"context == '{limits['status']}'", "state == 'success'", f"sender.login == '{limits['creator']}'"):
        assert f"github.event.{said}" in job["if"]
    assert " || " not in job["if"].partition("workflow_dispatch' ||")[2], "all of the three"
    assert job["if"].startswith(f"{UPSTREAM} && (github.event_name == 'workflow_dispatch' ||")


def test_promotion_and_rollback_exclude_each_other() -> None:
    (job,) = load(GITHUB / "workflows/promote.yml")["jobs"].values()
    verbs = {step["run"]: step for step in job["steps"] if "run" in step}
    assert {run: step["if"] for run, step in verbs.items()} == {
        "make promote": "inputs.action != 'rollback'",
        "make rollback": "inputs.action == 'rollback'",
    }
    assert verbs["make promote"]["env"]["SOURCE"] == "status"
    assert all(step["env"]["PUSH"] == "yes" for step in verbs.values())


def test_release_starts_for_what_ships_and_nothing_else() -> None:
    written = load(GITHUB / "workflows/release.yml")
    aside = [name.removeprefix(":(exclude,glob)") for name in release.ASIDE]
    assert written["on"]["push"]["paths-ignore"] == aside
    prose = re.search(r"^PROSE := \. (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert prose
    assert [word.strip("'") for word in prose[1].split()] == list(release.ASIDE[3:]), "one idea of what prose is"
    due, job = written["jobs"]["due"], written["jobs"]["release"]
    default_branch = "github.ref == format('refs/heads/{0}', github.event.repository.default_branch)"
    assert due["if"] == f"${{{{ {UPSTREAM} && {default_branch} }}}}"
    assert due["outputs"] == {"due": "${{ steps.due.outputs.due }}"}
    assert (job["needs"], job["if"]) == ("due", f"${{{{ {UPSTREAM} && needs.due.outputs.due == 'true' }}}}")


def test_release_judges_before_it_builds_and_builds_before_it_bumps() -> None:
    job = load(GITHUB / "workflows/release.yml")["jobs"]["release"]
    assert [step["run"] for step in job["steps"] if "run" in step] == [
        "make review", "make package", "make image", "make gate", "make release",
    ]  # fmt: skip
    assert job["steps"][-1]["env"] == {"GITHUB_TOKEN": "${{ steps.app.outputs.token || github.token }}", "PUSH": "yes"}
    assert [step for step in job["steps"] if "run" in step and "if" in step] == []
    assert "BASE" not in str(job), "against what production runs now, by main's limits"


def test_only_the_step_that_needs_it_has_a_token() -> None:
    for path in FILES:
        for step in steps(path):
            held = [name for name, value in step.get("env", {}).items() if "token" in str(value).lower()]
            assert not held or step["run"] in TOKENS, f"{path.stem}: {step.get('run')} holds {held}"


def test_comment_is_for_pull_requests_alone() -> None:
    (job,) = load(GITHUB / "workflows/comment.yml")["jobs"].values()
    assert job["if"] == "github.event.workflow_run.event == 'pull_request'"
    assert load(GITHUB / "workflows/comment.yml")["on"]["workflow_run"]["workflows"] == ["check"]


# What stands beside the workflows


def test_verbs_hand_on_their_words_as_one_each(tmp_path: Path) -> None:
    write(tmp_path, ".venv/ready", (ROOT / "requirements/dev.lock").read_text("utf-8"))
    write(tmp_path, "requirements/dev.lock", (ROOT / "requirements/dev.lock").read_text("utf-8"))
    write(tmp_path, ".venv/bin/python", '#!/bin/sh\nfor word; do printf "%s\\n" "[$word]"; done\n')
    (tmp_path / ".venv/bin/python").chmod(0o755)
    assert make(tmp_path, "review").stdout.split() == ["[-m]", "[slipway]", "[review]"]
    for base in ("HEAD^1", "$(touch pwned)", "$(shell touch pwned)", "a b\"c'", "--help"):
        for verb in ("review", "policy"):
            assert make(tmp_path, verb, BASE=base).stdout.splitlines()[-1] == f"[--base={base}]"
        given = dict.fromkeys(("REASON", "ENVIRONMENT", "ABORTED", "OF"), base)
        said = make(tmp_path, "rollback", PUSH="yes", **given).stdout.splitlines()
        assert said[3:] == ["[--push]", *(f"[--{name}={base}]" for name in ("reason", "env", "aborted", "of"))]
        assert make(tmp_path, "promote", SOURCE=base).stdout.splitlines()[3:] == [f"[--source={base}]"]
    assert make(tmp_path, "release").stdout.split() == ["[-m]", "[slipway]", "[release]"]
    assert make(tmp_path, "release", PUSH="$(touch pwned)").stdout.split()[3:] == ["[--push]"]
    assert make(tmp_path, "gate", PUSH="yes").stdout.split()[2:] == ["[release]", "[gate]", "[--push]"]
    assert make(tmp_path, "due").stdout.split()[2:] == ["[release]", "[due]"]
    assert make(tmp_path, "rollback").stdout.split() == ["[-m]", "[slipway]", "[rollback]", "[--reason=]"]
    assert make(tmp_path, "promote", PUSH="yes").stdout.split()[2:] == ["[promote]", "[--push]"]
    assert not list(tmp_path.rglob("pwned"))


def test_ruleset_requires_ok_and_owners() -> None:
    rules = {
        rule["type"]: rule.get("parameters", {}) for rule in json.loads((GITHUB / "ruleset.json").read_text())["rules"]
    }
    assert {"deletion", "non_fast_forward"} <= set(rules)
    required = rules["required_status_checks"]
    assert [check["context"] for check in required["required_status_checks"]] == ["ok"]
    assert "ok" in load(GITHUB / "workflows/check.yml")["jobs"]
    assert required["strict_required_status_checks_policy"] is True
    assert rules["pull_request"]["require_code_owner_review"] is True
    assert set(rules["pull_request"]["allowed_merge_methods"]) == {"merge", "squash"}


def test_owners_guard_what_gates_read() -> None:
    lines = [line.split() for line in (GITHUB / "CODEOWNERS").read_text("utf-8").splitlines() if line[:1] == "/"]
    guarded = {path for path, *_ in lines}
    assert guarded >= {"/.github/", "/params.yaml", "/loadtests/slo.yaml", "/src/slipway/judging/",
                       "/releases/production.jsonl", "/k8s/overlays/production/"}  # fmt: skip
    assert len({tuple(owners) for _, *owners in lines}) == 1, "all paths have the same owners, or none yet"
    later = {"/releases/production.jsonl", "/k8s/overlays/production/"}
    assert [path for path in guarded - later if not (ROOT / path.strip("/")).exists()] == []
    assert not {"/", "*", "/releases/", "/k8s/"} & guarded, "staging merges by itself"


def test_dependabot_waits_and_groups() -> None:
    updates = load(GITHUB / "dependabot.yml")["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"github-actions", "uv", "docker", "npm"}
    for update in updates:
        assert update["cooldown"]["default-days"] >= 7
        assert update["groups"]
        for folder in update.get("directories", [update.get("directory")]):
            assert (ROOT / folder.strip("/")).is_dir()


def test_audit_tools_are_locked_without_an_index() -> None:
    lock = json.loads((ROOT / ".ci/package-lock.json").read_text(encoding="utf-8"))
    for name, package in lock["packages"].items():
        assert "resolved" not in package
        assert not name or package["integrity"].startswith("sha512-")
