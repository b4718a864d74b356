"""The documentation is true: its programs run, and print what the pages say they print.

How pages are marked up stands in CONTRIBUTING.md. To write what really comes out into them, run
`python tests/integration/test_docs.py [PAGE...]`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from difflib import ndiff
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from textwrap import dedent
from typing import Any, NamedTuple

import pytest
from hypothesis import given, strategies as st

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md"))
    if ".cache" not in path.parts
)
LANGUAGES = {"python", "console", "text", "toml", "json", "bash", "yaml"}
CUT = "[...]"

each_page = pytest.mark.parametrize("page", [pytest.param(page, id=page) for page in PAGES])


# Reading pages


class Block(NamedTuple):
    """A fenced block: where it begins, the comment right above it, and what it is."""

    line: int
    note: str
    language: str
    title: str
    text: str


_FENCE = re.compile(
    r"^(?:<!-- ([^\n]*?) -->\n)?```(\w*)(?: title=\"([^\"\n]*)\")?\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def blocks_of(text: str) -> list[Block]:
    return [
        Block(text.count("\n", 0, found.start(2)) + 1, *found.groups(default=""))
        for found in _FENCE.finditer(text)
    ]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def commands_of(text: str) -> list[tuple[str, str]]:
    """Return (command, expected output) for each `$ command` of a console block."""
    parts = re.split(r"^\$ ((?:.*\\\n)*.*)\n", text, flags=re.MULTILINE)
    assert not parts[0], "a console block begins with '$ '"
    return list(zip(parts[1::2], parts[2::2], strict=True))


# Running pages

_SERVE = """
import contextlib, io, json, sys, traceback

def serve():
    names = vars(sys.modules["__main__"])
    for line in sys.stdin:
        request = json.loads(line)
        out, failure = io.StringIO(), ""
        with contextlib.redirect_stdout(out):
            try:
                exec(compile(request["code"], request["name"], "exec"), names)
            except BaseException:
                failure = traceback.format_exc()
        print(json.dumps([out.getvalue(), failure]), flush=True)

serve()
"""


class Reader:
    """Somebody who does in an empty folder, in order, what a page shows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.copytree(ROOT / "plugins_example" / "data", folder / "plugins_example" / "data")
        binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        plain = {"PATH": binaries, "NO_COLOR": "1", "COLUMNS": "80", "PYTHONUTF8": "1"}
        environment = {**os.environ, **plain, "PYTHONWARNINGS": "error"}
        environment.pop("FORCE_COLOR", None)
        self._options: dict[str, Any] = {"cwd": folder, "env": environment, "encoding": "utf-8"}
        self._python: subprocess.Popen[str] | None = None
        self._complaints = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  # see close

    def write(self, name: str, text: str) -> None:
        """Save a file."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def run(self, code: str, name: str) -> str:
        """Return what a program prints; all programs of a page share their names."""
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, "-c", _SERVE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                **self._options,
            )
        assert self._python.stdin
        assert self._python.stdout
        self._python.stdin.write(json.dumps({"code": code, "name": name}) + "\n")
        self._python.stdin.flush()
        printed, failure = json.loads(self._python.stdout.readline())
        self._complaints.seek(0)
        complaints = self._complaints.read()
        assert not failure + complaints, f"{name}: {complaints}{failure}"
        return str(printed)

    def type(self, command: str) -> str:
        """Return what a command shows on a terminal without colours."""
        done = subprocess.run(
            ["bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
            **self._options,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"
        return str(done.stdout)

    def close(self) -> None:
        """Leave; the folder stays."""
        if self._python is not None:
            self._python.communicate(timeout=30)
        self._complaints.close()


class Output(NamedTuple):
    """What came out, and what the page says from its line `line` on."""

    line: int
    expected: str
    actual: str
    any_order: bool


def followed(page: str, folder: Path) -> Iterator[Output]:
    """Do what a page shows and yield every output."""
    blocks = blocks_of(text_of(page))
    with closing(Reader(folder)) as reader:
        for block, after in zip_longest(blocks, blocks[1:]):
            if block.note.startswith("not run"):
                continue
            any_order = block.note == "any order"
            if block.title:
                reader.write(block.title, block.text)
            elif block.language == "python":
                actual = reader.run(block.text, f"{page}:{block.line}")
                if after and after.language == "text" and not after.title:
                    yield Output(after.line + 1, after.text, actual, after.note == "any order")
                else:
                    assert not actual, f"{page}:{block.line}: a 'text' block must show {actual}"
            elif block.language == "console":
                line = block.line + 1
                for command, expected in commands_of(block.text):
                    line += 1 + command.count("\n")
                    yield Output(line, expected, reader.type(command), any_order)
                    line += expected.count("\n")


# Comparing outputs

_NOTE = r"  (?:sampled|estimate|left out)  "
_WRAPPED = re.compile(
    rf"^(?:measuring cost|loading and|{_NOTE}).*(?:\n(?!{_NOTE})  .*)*", re.MULTILINE
)
_BY_CHANCE = re.compile(
    r"^(?:  (?:estimate|left out)  (?:CPU|memory)\b.*|getting slower: .*|nothing failed, and .*)\n",
    re.MULTILINE,
)
_MEASURED = (
    (r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "<date>"),
    (r"[↑↓→] [<>]?[-+]?\d[\d,.]* ?%(?: \(\?\))?", "<trend>"),
    (r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)? ?(?:ns|us|ms|s|h|d)\b", "<time>"),
    (r"(?<=<time>) 0(?= (?:-|\d))", " <time>"),  # CPU that is too short to tell, before the calls
    (r"(?<![\w.])\d[\d,]*(?:\.\d+)? ?(?:B|KiB|MiB|GiB|M)\b", "<size>"),
    (r"(?<![\w.])[<>]?[-+]?\d[\d,]*(?:\.\d+)? ?%", "<share>"),
    (r"(?<=\([a-z]{10} )\d[\d.]*(?=[),…])", "<version>"),  # hypothesis'
    (r"(?<=<time>) \d+(?= <time>)", " <share>"),  # the share of the self time
    (r"(?<=<time>) -(?= |$)", " <share>"),  # CPU and memory, where they are not known
    (r"(?<=<time> <share>) -$", " <size>"),
    (r"(?:<0\.001|(?<![\w.])[01]\.\d{3})(?= )", "<p>"),
    (r", [\d,]+ readings? <time>", ""),
    (r"sampled \d[\d,]* of", "sampled <count> of"),
    (r"^(loading and unloading: <time>); .*$", r"\1; <the longest>"),
    (r" *█+$", ""),
    (r"(?<=[\w>-]) \d+\.\d$", " <share>"),  # in a column of shares
)


def normal(output: str) -> list[str]:
    """Return the lines of an output with placeholders for what differs from run to run.

    Times, sizes and shares do, how far apart the columns are, where a line full of figures is
    wrapped, which executions happened to be sampled, which load took longest, and whether noise
    looks like a trend. Names, other counts and the order of lines do not.
    """
    text = _WRAPPED.sub(lambda found: re.sub(r"\n +", " ", found[0]), output.rstrip() + "\n")
    text = re.sub(r"(?<=\S) {2,}", " ", _BY_CHANCE.sub("", text))
    for pattern, placeholder in _MEASURED:
        text = re.sub(pattern, placeholder, text, flags=re.MULTILINE)
    return [line.rstrip() for line in text.rstrip().splitlines()]


def agrees(expected: str, actual: str, *, any_order: bool = False) -> bool:
    """Whether both say the same; a line `[...]` stands for any lines, also none.

    With `any_order`, the lines of each paragraph may be in any order, and the top of the ranking
    may be another; a `[...]` in a paragraph stands for more lines of it.
    """
    said, printed = normal(expected), normal(actual)
    if any_order:
        parts = [_sorted_paragraphs(said), _sorted_paragraphs(printed)]
        return len(parts[0]) == len(parts[1]) and all(map(_has, *parts))
    pattern = re.escape("".join(f"{line}\n" for line in said))
    pattern = pattern.replace(re.escape(f"{CUT}\n"), r"(?:.*\n)*")
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)) is not None


def _has(said: list[str], printed: list[str]) -> bool:
    if CUT not in said:
        return said == printed
    return all(line in printed for line in said if line != CUT)


def _sorted_paragraphs(lines: list[str]) -> list[list[str]]:
    kept = [line for line in lines if not line.startswith("most time: ")]
    return [sorted(part.splitlines()) for part in "\n".join(kept).split("\n\n")]


# The tests


@each_page
def test_what_a_page_shows_is_what_comes_out(page: str, tmp_path: Path) -> None:
    """The programs, files and commands of a page, in order, in an empty folder."""
    for line, expected, actual, any_order in followed(page, tmp_path):
        changes = "\n".join(ndiff(normal(expected), normal(actual)))
        message = f"{page}:{line}: the page says (-) what does not come out (+)\n{changes}"
        assert agrees(expected, actual, any_order=any_order), message


@each_page
def test_every_block_is_run_or_says_why_not(page: str) -> None:
    """Nothing escapes by its form; what is `bash` is a command that `.ci/run` finds by its name."""
    text = text_of(page)
    assert not re.search(r"^[ \t]+(```|~~~)", text, flags=re.MULTILINE), "indented fence"
    assert len(re.findall(r"^```", text, flags=re.MULTILINE)) == 2 * len(blocks_of(text))
    for block in blocks_of(text):
        assert block.language in LANGUAGES, f"{page}:{block.line}"
        notes = r"command: \w+" if block.language == "bash" else r"|any order|not run: .{10,}"
        assert re.fullmatch(notes, block.note), f"{page}:{block.line}: {block.note}"


@each_page
def test_links_lead_somewhere(page: str) -> None:
    """Relative links name files that are there; the site's build checks anchors, too."""
    text = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)[^)\s]*\)", text):
        if not target.startswith(("https:", "mailto:")):
            assert ((ROOT / page).parent / target).exists(), target


# The tests of these tests

REPORT = """\
Cost: 60 executions of 2 plugins in 88.5 ms, 5 failed
most time: slow, 99.2 % of the 84.4 ms in plugins

plugin    runs failed   total     self   %  median     p95  CPU  memory
slow        40      0  83.8ms   83.8ms  98  2.09ms  2.11ms   2%      0M
quick       20      5   644us    644us   1  7.41us  25.0us    -     16M

Where the time went (who called whom, inclusive)
all plugins                          85.8ms  100.0 % ██████████████████████████
  slow                               83.8ms   97.7 % █████████████████████████

measuring cost 1.11 ms, 1.3 % of the time observed: processing 869 us;
  estimated: recording 192 us, 13 readings 47.3 us
  sampled   21.7 % of executions, for CPU and memory (sampling rate 10.0 %)
  estimate  percentiles: from a histogram, at most 0.4 % off
  estimate  CPU: from the sampled executions only
"""


def test_the_same_report_with_other_figures_agrees() -> None:
    """Figures, the width of columns, bars, wrapping and what was sampled may change."""
    other = """\
    Cost: 60 executions of 2 plugins in 1.23 s, 5 failed
    most time: slow, 99.9 % of the 1.21 s in plugins

    plugin    runs failed   total     self    %  median     p95   CPU  memory
    slow        40      0   1.20s    1.20s  100  29.1ms  30.1ms     -    120M
    quick       20      5   1.1ms    1.1ms    0  7.41us  25.0us  100%       -

    Where the time went (who called whom, inclusive)
    all plugins                           1.21s  100.0 % ██████████████████████████
      slow                                1.20s   99.7 % ██████████

    measuring cost 9 us, 1.3 % of the time observed: processing 9 us; estimated:
      recording 1 us
      sampled   0 % of executions, for CPU and memory (sampling rate 10.0 %)
      estimate  percentiles: from a histogram, at most 0.4 % off
      estimate  memory: growth of the process's resident set, a lower
                bound
    """
    assert normal(REPORT) == normal(dedent(other))
    assert agrees(REPORT, dedent(other))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("slow      ", "sluggish  ", id="another name"),
        pytest.param("  40      0", "  41      0", id="another count"),
        pytest.param("median     p95", "p95     median", id="another column"),
        pytest.param("  slow   ", "    slow ", id="another caller"),
        pytest.param("83.8ms   83.8ms", "83.8ms", id="a figure less"),
        pytest.param("\n\nmeasuring", "\nmeasuring", id="another paragraph"),
        pytest.param("from a histogram", "from a guess", id="another note"),
        pytest.param("processing", "handling", id="another word in a wrapped line"),
    ],
)
def test_a_changed_report_does_not_agree(old: str, new: str) -> None:
    """Names, counts, columns, indentation and words are compared."""
    assert old in REPORT
    assert not agrees(REPORT, REPORT.replace(old, new))
    assert not agrees(REPORT, REPORT.replace(old, new), any_order=True)


def test_the_order_of_lines_counts_unless_a_page_says_so() -> None:
    """`any order` is about the lines within a paragraph, not about paragraphs."""
    first, second, third = "a\nb\n\nc\n", "b\na\n\nc\n", "c\n\na\nb\n"
    assert not agrees(first, second)
    assert not agrees(REPORT, REPORT.replace("most time: slow", "most time: quick"))
    assert agrees(first, second, any_order=True)
    assert not agrees(first, third, any_order=True)


@given(
    st.lists(st.sampled_from("abc"), max_size=6),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3),
)
def test_a_cut_stands_for_any_lines(cut: list[str], head: list[str], tail: list[str]) -> None:
    """Whatever is left out in the middle, what is before and after it must be there."""
    shown = "".join(f"{line}\n" for line in (*head, CUT, *tail))
    actual = "".join(f"{line}\n" for line in (*head, *cut, *tail))
    assert agrees(shown, actual)
    assert not agrees(shown, actual + "d\n")
    assert not agrees(f"d\n{shown}", actual)
    assert not agrees(shown.replace(CUT, f"{CUT}\nd\n{CUT}"), actual)


# Writing pages


def rewritten(page: str, folder: Path) -> str:
    """Return the page with what really comes out of it; outputs with a cut stay as they are."""
    lines = text_of(page).splitlines(keepends=True)
    for output in sorted(followed(page, folder), reverse=True):
        if CUT not in output.expected:
            first = output.line - 1
            lines[first : first + output.expected.count("\n")] = [
                output.actual.rstrip("\n") + "\n" * bool(output.actual)
            ]
    return "".join(lines)


def main(pages: list[str]) -> None:
    """Write what comes out into pages."""
    for page in pages or PAGES:
        with TemporaryDirectory() as folder:
            new = rewritten(page, Path(folder))
        (ROOT / page).write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
