"""The page: nothing in it but its own markup, whatever plugins are called."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import msgspec
from hypothesis import given

from pluginhost.costs import ApplicationCost, CostReport, FlameGraphNode, MeasuringCost
from pluginhost.exporters import EXPORTERS, export
from pluginhost.exporters.html.contents import document_of
from pluginhost.exporters.html.document import Document
from pluginhost.inside import InsideFrame, InsideProfile, Kind
from pluginhost.report import AggregateMetrics, Overhead, PerformanceReport, Report
from pluginhost.suite import PartCost, SuitePart, SuiteReport, SuiteTests
from tests.unit.exporters.hostile_reports import NASTY, REPORTS, environment, node
from tests.unit.test_report import STRATEGIES


class Page(HTMLParser):
    """Every tag with its attributes, and the text within each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.comments: list[str] = []
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag
        if tag in ("script", "style"):
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style"):
            self.texts[self._open][-1] += data
        else:
            self.texts.setdefault(self._open, []).append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def page_of(report: Report) -> Page:
    return Page(str(export("html", report)))


TAGS = [
    "html",
    "head",
    "meta",
    "meta",
    "meta",
    "meta",
    "meta",
    "title",
    "style",
    "body",
    "noscript",
    "p",
    "main",
    "script",
    "script",
]


@given(REPORTS)
def test_the_markup_is_the_same_whatever_the_names(report: Report) -> None:
    """No name makes a tag, an attribute or a comment: all of them are data."""
    page = page_of(report)
    assert [tag for tag, _ in page.tags] == TAGS
    assert page.comments == []
    allowed = {"lang", "charset", "http-equiv", "content", "name", "id", "type"}
    assert {name for _, attributes in page.tags for name in attributes} <= allowed


@given(REPORTS)
def test_the_embedded_json_is_what_went_in(report: Report) -> None:
    """The data block of the page gives the document again."""
    page = page_of(report)
    data = json.loads(page.texts["script"][0])
    assert msgspec.convert(data, Document) == document_of(report)
    assert not set("<>&") & set(page.texts["script"][0])


@given(REPORTS)
def test_texts_are_shown_and_not_obeyed(report: Report) -> None:
    """No control character, no direction override, no half of a character is left."""

    def texts(value: Any) -> list[str]:
        if isinstance(value, str):
            return [value]
        below = value.values() if isinstance(value, dict) else value
        return [t for each in below for t in texts(each)] if isinstance(value, dict | list) else []

    found = texts(json.loads(page_of(report).texts["script"][0]))
    assert all(text.isprintable() for text in found)


@given(STRATEGIES[Report])
def test_any_report_makes_a_page(report: Report) -> None:
    """Of a host, a program or a suite, with whatever figures."""
    data = json.loads(page_of(report).texts["script"][0])
    assert data["answer"]
    assert msgspec.convert(data, Document) == document_of(report)


def small(**fields: Any) -> Report:
    known: dict[str, Any] = {
        "name": "demo",
        "created_timestamp_ns": 1_767_225_600_000_000_000,
        "observed_ns": 10_000_000,
        "environment": environment(),
    }
    return Report(**known | fields)


def test_only_its_own_script_and_style_may_run() -> None:
    """The policy names the hashes of the two blocks that there are, and allows nothing else."""
    page = page_of(small())
    (policy,) = (a["content"] for t, a in page.tags if a.get("http-equiv"))
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for rule, text in (
        ("script-src", page.texts["script"][1]),
        ("style-src", page.texts["style"][0]),
    ):
        digest = b64encode(sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
        assert b64decode(digest)
    assert set(rules) == {"default-src", "script-src", "style-src", "base-uri", "form-action"}


def test_the_page_asks_for_nothing() -> None:
    """No address of anything, no way to parse text as markup, and no way to run text as code."""
    text = str(export("html", small()))
    addresses = re.findall(r"[a-z]+://[^\s\"'`]+", text)
    assert addresses == ["http://www.w3.org/2000/svg"]  # a name, which nobody asks for
    for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "fetch("):
        assert word not in text
    for word in ("XMLHttpRequest", "import(", "new Function", "@import", "url("):
        assert word not in text


def performance(**fields: Any) -> PerformanceReport:
    known: dict[str, Any] = {
        "observed_ns": 10,
        "sampling_rate": 0.1,
        "flame_graph": node("all plugins", 0, node("a", 5)),
        "overhead": Overhead(processing_ns=1),
    }
    return PerformanceReport(**known | fields)


def metrics(plugin_id: str, self_ns: int) -> AggregateMetrics:
    zero: dict[str, Any] = {
        field.name: 0 for field in msgspec.structs.fields(AggregateMetrics) if field.required
    }
    changes = {"plugin_id": plugin_id, "self_time_ns": self_ns, "execution_count": 2}
    return AggregateMetrics(**zero | changes)


def test_the_answer_names_who_takes_most_time() -> None:
    """First of all, in words."""
    report = small(performance=performance(plugins=(metrics("a", 10), metrics("b", 90))))
    first = document_of(report).answer[0]
    assert first.startswith("b takes most time: 90.0 % of")


def test_what_is_inside_of_a_plugin_has_a_graph_of_its_own() -> None:
    """A profile of memory in bytes, every frame of it an estimate, and its function is named."""
    frame = InsideFrame(function="load", file="a/b.py", line=3, value=70, self_value=70, samples=2)
    profile = InsideProfile(
        plugin_id="a", kind=Kind.MEMORY, profiler="memray", value=100, frames=(frame,)
    )
    document = document_of(
        small(performance=performance(plugins=(metrics("a", 5),), inside=(profile,)))
    )
    (graph,) = (graph for graph in document.flames if graph.kind == "bytes")
    assert graph.texts == ("a", "load (a/b.py:3)")
    assert (graph.values, graph.own, graph.sampled) == ((100, 70), (30, 70), (1,))
    assert any("load (a/b.py:3)" in text for text in document.answer)


def test_columns_of_tests_that_were_not_measured_are_left_out() -> None:
    """A suite's table of tests has the columns there are."""
    parts = tuple(PartCost(part=part, self_ns=1) for part in SuitePart)
    suite = SuiteReport(
        pytest="9",
        wall_ns=12,
        elapsed_ns=12,
        cpu_ns=1,
        parts=parts,
        test_count=2,
        outcomes={"passed": 2},
        tests=SuiteTests(
            ids=("a", "b"), outcomes=("passed", "passed"), call_ns=(3, 4), self_ns=(2, 4)
        ),
    )
    costs = CostReport(
        wall_ns=12,
        elapsed_ns=12,
        cpu_ns=1,
        main_cpu_ns=1,
        application=ApplicationCost(name="pytest", self_ns=12),
        measuring=MeasuringCost(),
        unattributed_ns=0,
    )
    whole = document_of(small(costs=costs, suite=suite))
    (table,) = (table for table in whole.tables if table.id == "tests")
    assert [column.label for column in table.columns] == ["test", "outcome", "call", "self"]
    assert table.rows == (("a", "passed", 3, 2), ("b", "passed", 4, 4))
    assert "2 tests: 2 passed" in whole.answer[1]


def test_a_deep_flame_graph_is_no_problem() -> None:
    """Deeper than Python's own stack."""
    tree = node("leaf", 1)
    for depth in range(900):
        tree = node(f"at {depth}", 1, tree)
    document = document_of(small(performance=performance(flame_graph=tree)))
    assert len(document.flames[0].values) == 901


def test_it_is_listed() -> None:
    """By its name, with what a server says of it."""
    assert EXPORTERS["html"].media_type == "text/html"


def test_nasty_names_are_in_the_data() -> None:
    """So that the tests above have tested something."""
    rows = tuple(metrics(name, 1) for name in NASTY)
    text = page_of(small(performance=performance(plugins=rows))).texts["script"][0]
    assert "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e" in text


def test_what_is_inside_of_a_plugin_is_in_other_formats_too() -> None:
    """Functions that were sampled stand below their plugin in whatever shows the flame graph."""
    sampled = FlameGraphNode(name="grind (mill.py:3)", duration_ns=5, self_ns=5, sampled=True)
    mill = FlameGraphNode(name="mill", duration_ns=6, self_ns=1, children=(sampled,))
    report = small(performance=performance(flame_graph=node("all plugins", 0, mill)))
    found = json.loads(export("speedscope", report))
    assert {"name": "grind (mill.py:3)"} in found["shared"]["frames"]
    assert found["profiles"][0]["endValue"] == 6
    assert document_of(report).flames[0].sampled == (2,)
