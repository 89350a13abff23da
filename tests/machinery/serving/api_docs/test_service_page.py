"""The service's page: true examples, nothing loaded, and readable by everyone."""

from __future__ import annotations

import ast
import html
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from slipway.core import files
from slipway.pipeline import plots
from slipway.serving.api_docs import openapi, service_page
from slipway.serving.validation import BadRequest, Reader
from support.hostile_texts import HOSTILE
from support.paths import ROOT

TEMPLATE = ROOT / "src/slipway/serving/api_docs/templates/service_page.html.j2"


class Page(HTMLParser):
    """The tags of a page, and the texts of its cells by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def named(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


@pytest.fixture(scope="module")
def contract(packable: Path) -> Any:
    return files.read_json(packable / "models/contract.json")


@pytest.fixture(scope="module")
def text(contract: Any) -> str:
    return service_page.render(contract, version="0123456789ab", prediction=0.25)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def examples(text: str, language: str) -> list[str]:
    found = re.findall(rf'<p class="muted">{language}</p><pre><code>(.*?)</code>', text, re.DOTALL)
    return [html.unescape(code) for code in found]


def served_page(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/") as response:
        return response.read().decode()


# Nothing is loaded


def test_the_page_has_no_script_and_loads_nothing(text: str, page: Page) -> None:
    assert page.named("script", "img", "iframe", "object", "embed", "form", "base") == []
    assert [value for _, each in page.tags for name, value in each.items() if name in ("src", "srcset", "action")] == []
    assert [name for _, each in page.tags for name in each if name.startswith("on") or name == "style"] == []
    assert re.findall(r"@import|url\(|//[a-z]", text.replace(service_page.URL, "")) == []


def test_every_link_stays_below_the_address_of_the_page(page: Page) -> None:
    links = {str(each["href"]) for each in page.named("a", "link")}
    ids = {f"#{each['id']}" for _, each in page.tags if "id" in each}
    assert links - ids == {"docs.json", "data:,"}, "relative, so that they work behind a path prefix"


# Readable by everyone


def test_title_and_heading_name_the_model(text: str, page: Page, contract: Any) -> None:
    title = html.escape(openapi.title(contract))
    assert f"<title>bikes 0123456789ab · {title}</title>" in text
    assert f"<h1>{title}</h1>" in text
    assert len(page.named("h1")) == 1


def test_headings_skip_no_level(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_heading_of_a_table_has_its_scope(page: Page) -> None:
    assert {each["scope"] for each in page.named("th")} == {"col", "row"}
    assert len(page.named("caption")) == len(page.named("table"))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(scheme: int) -> None:
    rules = re.findall(r":root \{(.*?)\}", TEMPLATE.read_text("utf-8"))
    colours = dict(re.findall(r"--(\w+):(#\w+)", rules[scheme]))
    assert {role: colours[role] for role in colours if role in plots.PALETTE} == {
        role: pair[scheme] for role, pair in plots.PALETTE.items() if role in colours
    }
    pairs = [(front, behind) for front in ("ink", "muted", "accent") for behind in ("page", "card")]
    assert [pair for pair in [*pairs, ("ink", "soft")] if contrast(*(colours[name] for name in pair)) < 4.5] == []


def contrast(*colours: str) -> float:
    """The contrast ratio of WCAG 2."""
    bright, dark = sorted((luminance(each) for each in colours), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    shares = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


# What it states is true


def test_every_endpoint_is_shown_in_its_group(text: str, contract: Any) -> None:
    document = openapi.document(contract, version="1")
    groups = re.findall(r'<h2 id="group-\w+">(\w+)</h2>', text)
    assert groups == [tag["name"] for tag in document["tags"]]
    shown = re.findall(r'<span class="method">(\w+)</span> <code>(\S+)</code>', text)
    assert shown == [(method.upper(), path) for path, each in document["paths"].items() for method in each]


def test_the_allowed_values_are_those_of_the_error_messages(text: str, contract: Any) -> None:
    row = dict(contract["example"])
    for name in row:
        with pytest.raises(BadRequest) as refused:
            Reader(contract).check({key: value for key, value in row.items() if key != name})
        assert f'data-head="allowed"><span>{refused.value.errors[0]["limit"]}' in text


def test_known_texts_are_shown_or_counted(contract: Any) -> None:
    assert "Seen in training: park, river" in service_page.render(
        contract | {"known": {"station": ["park", "river"]}}, version="1"
    )
    many = {"station": [str(number) for number in range(40)]}
    assert "Seen in training: 40 values" in service_page.render(contract | {"known": many}, version="1")


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"type": "string", "enum": ["a", "b"]}, "one of a, b"),
        ({"type": "boolean"}, "see the OpenAPI document"),
        (
            {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]},
            "a text of 0 to 3 characters, or null, or left out",
        ),
    ],
)
def test_a_question_of_any_kind_is_described(contract: Any, node: dict[str, Any], words: str) -> None:
    question = {"type": "object", "properties": {"which": node}}
    assert f'data-head="allowed"><span>{words}' in service_page.render(contract | {"question": question}, version="1")


def test_a_question_without_examples_has_none(contract: Any) -> None:
    question = {"type": "object", "required": ["which"], "properties": {"which": {"type": "string"}}}
    text = service_page.render(contract | {"question": question}, version="1")
    assert not any("/ask" in code for code in examples(text, "curl"))


def test_texts_of_the_contract_stay_texts(contract: Any) -> None:
    """Also in the examples: what they quote is what is sent."""
    evil = "".join(HOSTILE) + "'\"$(reboot)`"
    labels = {"title": evil, "purpose": evil, "limits": evil}
    text = service_page.render(
        contract | {"labels": labels, "example": contract["example"] | {"station": evil}}, version="1"
    )
    assert Page(text).named("script", "img") == []
    done = subprocess.run(
        ["sh", "-c", f'curl() {{ printf "%s" "$5"; }}; {examples(text, "curl")[0]}'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["station"] == evil
    assert any(
        isinstance(node, ast.Constant) and node.value == evil
        for node in ast.walk(ast.parse(examples(text, "Python")[0]))
    )


# The examples run


def check(path: str, output: str, answer: float) -> None:
    """The output of an example against what its endpoint answers."""
    if path in ("/predict", "/ask"):
        shown = json.loads(output.replace("'", '"').replace("None", "null"))
        assert shown["prediction"] == answer if path == "/predict" else shown["inputs"]["recent"] == 21
    elif path == "/metrics":
        assert [name for name in service_page.METRICS if f"\n# TYPE {name} " not in f"\n{output}"] == []
    else:
        assert output.strip() in ("", "200")


def shown_answer(text: str) -> float:
    return float(json.loads(examples(text, "answer to both")[0])["prediction"])


def test_every_curl_command_of_the_page_works(served: int) -> None:
    if not shutil.which("curl") and os.environ.get("CI") != "true":
        pytest.skip("curl is not installed")
    text = served_page(served)
    commands = examples(text, "curl")
    assert len(commands) == 5
    for command in commands:
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=True)
        check(re.findall(r"^curl http://127.0.0.1:\d+(/\w+)", command)[0], done.stdout, shown_answer(text))


def test_every_python_example_of_the_page_works(served: int) -> None:
    text = served_page(served)
    programs = examples(text, "Python")
    assert len(programs) == 5
    for program in programs:
        command = [sys.executable, "-I", "-W", "error", "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        path = re.findall(r'"http://127.0.0.1:\d+(/\w+)"', program)[0]
        check(path, done.stdout.removeprefix("200 "), shown_answer(text))


def test_the_error_of_the_page_is_what_the_service_sends(served: int, contract: Any) -> None:
    text = served_page(served)
    shown = json.loads(html.unescape(re.findall(r"<pre><code>(\{.*?)</code>", text, re.DOTALL)[-1]))
    first = next(iter(contract["inputs"]["properties"]))
    row = {name: value for name, value in contract["example"].items() if name != first}
    request = Request(
        f"http://127.0.0.1:{served}/predict", json.dumps(row).encode(), {"content-type": "application/json"}
    )
    with pytest.raises(HTTPError) as refused:
        urlopen(request)
    with refused.value as response:
        assert (response.status, json.load(response)) == (422, shown)
