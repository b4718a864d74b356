"""The example plugins, installed and loaded as any user would: each does its real work."""

from __future__ import annotations

import ast
import asyncio
import csv
import hashlib
import http.client
import json
import lzma
import re
import socket
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pluginhost_examples
import pytest
from hypothesis import given, strategies as st
from PIL import Image

import pluginhost
from pluginhost import PluginHost, observe
from pluginhost.costs import FlameGraphNode
from pluginhost.errors import PluginStateError
from pluginhost.report import PluginState

PROJECT = Path(__file__).parents[2] / "plugins_example"
FILES = sorted((PROJECT / "data").iterdir())
BY_NAME = {path.name: path for path in FILES}
IDS = {
    "checksum", "compress", "csv-stats", "digest", "fetch", "fragile", "leaky", "markdown",
    "thumbnail",
}  # fmt: skip
MIB = 1024 * 1024

each_file = pytest.mark.parametrize("path", [pytest.param(p, id=p.name) for p in FILES])


@pytest.fixture
def host() -> Iterator[PluginHost]:
    with PluginHost("examples") as host:
        host.load_all()
        yield host


def run_python(code: str) -> str:
    """Return what a fresh interpreter, in which warnings are errors, prints."""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


# As a family


def test_all_nine_load_from_their_entry_points(host):
    """Every example is found through its entry point and loads without an error."""
    examples = [p for p in host.plugins.values() if p.distribution == "pluginhost-examples"]
    assert {p.id for p in examples} == IDS
    assert {(p.state, p.error, p.source) for p in examples} == {
        (PluginState.LOADED, None, "entry-point")
    }


def test_the_manifest_describes_every_plugin(host):
    """The host knows each plugin's summary, version, API and capabilities from the manifest."""
    examples = [p for p in host.plugins.values() if p.distribution == "pluginhost-examples"]
    assert all(p.version == "1.0.0" and p.requires_api == ">=1,<2" for p in examples)
    assert all(p.capabilities for p in examples)
    assert len({p.summary for p in examples}) == len(IDS)
    assert host.plugins["digest"].requires == ("checksum>=1", "compress>=1")


def test_discovery_imports_none_of_them():
    """The manifest is read and the plugins are listed before any of their code runs."""
    printed = run_python(
        "import sys; from pluginhost import PluginHost\n"
        "found = {p.id: p.summary for p in PluginHost('examples').discover()}\n"
        "print(found['leaky'], [m for m in sys.modules if m.startswith('pluginhost_examples')])"
    )
    assert printed == "Remembers everything it was ever given []\n"


def test_plugins_import_public_names_only():
    """No example reaches into pluginhost's modules, or into another example."""
    for source in Path(pluginhost_examples.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not any(a.name.startswith("pluginhost") for a in node.names), source.name
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, source.name
                if (node.module or "").startswith("pluginhost"):
                    assert node.module == "pluginhost", source.name
                    assert {a.name for a in node.names} <= set(pluginhost.__all__), source.name


def test_every_file_can_be_handed_to_every_plugin(host):
    """Only the malformed JSON files fail, and only in `fragile`; all executions are counted."""
    failed = set()
    with observe(host) as observation:
        for path in FILES:
            for plugin_id in IDS:
                try:
                    host.execute(plugin_id, path)
                except ValueError:
                    failed.add((plugin_id, path.name))
    assert failed == {("fragile", "typed-by-hand.json"), ("fragile", "upload-cut.json")}
    counts = {row.plugin_id: row.execution_count for row in observation.profiler.report().plugins}
    asked_by_digest = Counter({"checksum": len(FILES), "compress": len(FILES)})
    assert counts == Counter(dict.fromkeys(IDS, len(FILES))) + asked_by_digest


@pytest.mark.parametrize(
    ("plugin_id", "name"),
    [
        pytest.param("markdown", "absent.csv", id="markdown"),
        pytest.param("csv-stats", "absent.md", id="csv-stats"),
        pytest.param("thumbnail", "absent.json", id="thumbnail"),
        pytest.param("fragile", "absent", id="fragile"),
    ],
)
def test_a_file_of_another_kind_gives_none(host, plugin_id, name):
    """A plugin for certain kinds of file answers None to all others, without reading them."""
    assert host.execute(plugin_id, Path(name)) is None


@pytest.mark.parametrize(
    ("plugin_id", "name"),
    [
        pytest.param("markdown", "skerry-point.md", id="markdown"),
        pytest.param("csv-stats", "tides.csv", id="csv-stats"),
        pytest.param("thumbnail", "harbour.jpg", id="thumbnail"),
        pytest.param("fragile", "station.json", id="fragile"),
    ],
)
def test_the_case_of_a_suffix_does_not_matter(host, tmp_path, plugin_id, name):
    """A file whose suffix is in capitals is of the same kind, as it often is on a camera's card."""
    copy = tmp_path / f"COPY{BY_NAME[name].suffix.upper()}"
    copy.write_bytes(BY_NAME[name].read_bytes())
    assert host.execute(plugin_id, copy) == host.execute(plugin_id, BY_NAME[name])


def test_the_program_in_the_readme_prints_what_the_readme_says():
    """The README's Python program runs, without a warning, and its output is the one shown."""
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (output,) = re.findall(r"```text\n(.*?)```", readme, re.DOTALL)
    assert run_python(program) == output


# markdown


def test_markdown_renders_headings_tables_and_code(host):
    """The document's heading, its table with a row for each file, and its code come out as HTML."""
    html = host.execute("markdown", BY_NAME["skerry-point.md"])
    assert html.startswith("<h1>The tide gauge at Skerry Point</h1>\n<p>Skerry Point is a small")
    assert html.count("<tr>") == len(FILES)  # the heading and all files but the document itself
    assert '<pre><code class="language-python">level_above_sea = row[&quot;water' in html


# csv-stats


@pytest.mark.parametrize("name", ["water_level_m", "air_temperature_c", "wind_speed_ms"])
def test_csv_stats_agrees_with_numpy(host, name):
    """Count, mean, deviation and extremes of a column are what numpy makes of the same cells."""
    with BY_NAME["tides.csv"].open(encoding="utf-8", newline="") as file:
        cells = [row[name] for row in csv.DictReader(file)]
    values = np.array([cell for cell in cells if cell], dtype=float)
    column = host.execute("csv-stats", BY_NAME["tides.csv"])[name]
    assert column.count == len(values) >= 700
    assert column.mean == pytest.approx(values.mean())
    assert column.stdev == pytest.approx(values.std(ddof=1))
    assert (column.min, column.max) == (values.min(), values.max())


def test_csv_stats_leaves_out_columns_that_are_not_numeric(host):
    """Times and remarks have no statistics."""
    columns = host.execute("csv-stats", BY_NAME["tides.csv"])
    assert list(columns) == ["water_level_m", "air_temperature_c", "wind_speed_ms"]


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        pytest.param("", {}, id="empty file"),
        pytest.param("a,b\n", {}, id="names only"),
        pytest.param("a,b\n1,2\n3\n", {"a": 2, "b": 1}, id="short row"),
        pytest.param("a\n1,2\n", {"a": 1, "": 1}, id="long row"),
        pytest.param("\ufeffa\n1\n", {"a": 1}, id="byte order mark"),
        pytest.param("a\nnan\n5\ninf\n", {"a": 1}, id="not finite"),
        pytest.param('a\n"1"\n" 2 "\n" "\n', {"a": 2}, id="quoted and padded"),
        pytest.param("a\n1\nx\n", {}, id="one cell that is no number"),
    ],
)
def test_csv_stats_of_untidy_files(host, tmp_path, text, counts):
    """Cells that are missing, surplus or not finite neither fail nor count."""
    path = tmp_path / "untidy.csv"
    path.write_text(text, encoding="utf-8")
    found = host.execute("csv-stats", path)
    assert {name: column.count for name, column in found.items()} == counts


@given(values=st.lists(st.floats(-1e9, 1e9), min_size=2))
def test_csv_stats_of_any_numbers(tmp_path_factory, values):
    """Whatever finite numbers a column holds, its statistics are those of numpy."""
    path = tmp_path_factory.mktemp("column") / "any.csv"
    path.write_text("\n".join(["x", *map(repr, values)]), encoding="utf-8")
    with PluginHost("examples") as host:
        host.load("csv-stats")
        column = host.execute("csv-stats", path)["x"]
    assert (column.count, column.min, column.max) == (len(values), min(values), max(values))
    assert column.mean == pytest.approx(np.mean(values), abs=1e-6)
    assert column.stdev == pytest.approx(np.std(values, ddof=1), abs=1e-6)


# compress, checksum, digest


@each_file
def test_compress_loses_nothing(host, path):
    """What was compressed decompresses to the file, and the ratio is that of the sizes."""
    compressed = host.execute("compress", path)
    assert lzma.decompress(compressed.data) == path.read_bytes()
    assert compressed.ratio == len(compressed.data) / path.stat().st_size


def test_compress_is_at_least_as_good_as_the_standard_settings(host):
    """Trying several settings pays: the smallest result is kept."""
    path = BY_NAME["tides.csv"]
    standard = lzma.compress(path.read_bytes(), preset=6)
    assert len(host.execute("compress", path).data) < len(standard)


def test_compress_takes_an_empty_file(host, tmp_path):
    """An empty file has a ratio, though not a flattering one."""
    (tmp_path / "empty").touch()
    compressed = host.execute("compress", tmp_path / "empty")
    assert lzma.decompress(compressed.data) == b""
    assert compressed.ratio == len(compressed.data)


@each_file
def test_checksum_is_the_sha256_of_the_file(host, path):
    """The checksum is what hashlib makes of the whole content."""
    assert host.execute("checksum", path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_digest_combines_checksum_and_compress(host):
    """The digest holds what the two other plugins say of the same file."""
    path = BY_NAME["skerry-point.md"]
    digest = host.execute("digest", path)
    assert digest.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest.ratio == host.execute("compress", path).ratio


def test_digest_is_the_parent_of_what_it_calls(host):
    """Events and flame graph show `checksum` and `compress` as called from `digest`."""
    with observe(host) as observation:
        host.execute("digest", BY_NAME["station.json"])
    parents = {
        plugin_id: [e.parent for e in observation.analytics.get_plugin_events(plugin_id)]
        for plugin_id in ("checksum", "compress", "digest")
    }
    assert parents == {"checksum": ["digest"], "compress": ["digest"], "digest": [None]}
    graph = observation.profiler.generate_flame_graph()
    assert called(graph) == ["digest"]
    assert sorted(called(graph.children[0])) == ["checksum", "compress"]


def called(node: FlameGraphNode) -> list[str]:
    return [child.name for child in node.children]


def test_loading_digest_loads_what_it_requires():
    """The plugins that the manifest says `digest` requires come with it, and stay while it does."""
    with PluginHost("examples") as host:
        host.load("digest")
        loaded = {p.id for p in host.plugins.values() if p.state is PluginState.LOADED}
        assert loaded == {"checksum", "compress", "digest"}
        with pytest.raises(PluginStateError, match="digest"):
            host.unload("checksum")


# thumbnail


@pytest.mark.parametrize("name", ["sunrise.png", "harbour.jpg"])
@pytest.mark.parametrize(
    ("options", "size"),
    [
        pytest.param({}, (240, 160), id="default"),
        pytest.param({"width": 60}, (60, 40), id="narrow"),
        pytest.param({"width": 5000}, (1200, 800), id="never enlarged"),
    ],
)
def test_thumbnail_has_the_width_asked_for(host, name, options, size):
    """The bytes are an image of the same format and proportions, in the size asked for."""
    with Image.open(BY_NAME[name]) as original:
        expected = (original.format, size)
    with Image.open(BytesIO(host.execute("thumbnail", BY_NAME[name], **options))) as small:
        small.load()
        assert (small.format, small.size) == expected


# fetch


@each_file
def test_fetch_downloads_the_whole_file(host, path, capfd):
    """The number of bytes that came through the server is the file's size; no log is printed."""
    assert host.execute("fetch", path) == path.stat().st_size
    assert capfd.readouterr() == ("", "")


def test_fetch_serves_many_at_once(host):
    """Downloads that run side by side in one event loop each get their own file."""

    async def fetch_all() -> list[int]:
        return await asyncio.gather(*(host.aexecute("fetch", path) for path in FILES * 3))

    assert asyncio.run(fetch_all()) == [path.stat().st_size for path in FILES * 3]


def test_fetch_is_timed_over_its_await(host):
    """The observed duration of the plugin holds the whole download: more than its CPU time."""
    with observe(host, profiler=pluginhost.Profiler(sampling_rate=1.0)) as observation:
        asyncio.run(host.aexecute("fetch", BY_NAME["harbour.jpg"]))
        metrics = observation.profiler.get_metrics("fetch")
    assert 0 < metrics.cpu_time_ns < metrics.duration_ns


def test_fetch_serves_nothing_that_was_not_asked_for(host):
    """The server refuses every path but the secret one of a download under way."""
    host.execute("fetch", BY_NAME["station.json"])
    assert not host.manager.get_plugin("fetch")._offers
    server = host.manager.get_plugin("fetch")._server
    for path in ("/", str(BY_NAME["station.json"]), "/../../etc/hostname"):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.request("GET", path)
        assert connection.getresponse().status == 404
        connection.close()


def test_fetch_refuses_what_is_not_a_file(host):
    """A folder has no content to download: the plugin says what the server said."""
    with pytest.raises(ConnectionError, match=r"the server answered 'HTTP/1\.0 301"):
        host.execute("fetch", PROJECT)


def test_fetch_refuses_a_part_of_a_file(host):
    """A download that is shorter than the file was when it began is an error, not a result."""

    class Shrinking(type(Path())):
        def stat(self, **options):
            return SimpleNamespace(st_size=super().stat(**options).st_size + 1)

    with pytest.raises(ConnectionError, match=r"tides\.csv: received 23779 of 23780 bytes"):
        host.execute("fetch", Shrinking(BY_NAME["tides.csv"]))


def test_unloading_fetch_leaves_nothing_running():
    """After unload there is no thread and no server; of the plugin only its module stays."""
    before = set(threading.enumerate())
    with PluginHost("examples") as host:
        host.load("fetch")
        server = host.manager.get_plugin("fetch")._server
        host.execute("fetch", BY_NAME["tides.csv"])
        assert {t.name for t in set(threading.enumerate()) - before} >= {"fetch"}
        info = host.unload("fetch")
    assert info.survivors == ("module 'pluginhost_examples.fetch'",)
    assert set(threading.enumerate()) <= before
    assert server.fileno() == -1


def test_unloading_fetch_gets_rid_of_a_silent_client(monkeypatch):
    """A client that connects and never asks keeps its thread for the timeout, then nothing."""
    before = set(threading.enumerate())
    with PluginHost("examples") as host:
        host.load("fetch")
        server = host.manager.get_plugin("fetch")._server
        handler = server.RequestHandlerClass.func
        assert handler.timeout == 5  # seconds, too long to wait for here
        monkeypatch.setattr(handler, "timeout", 0.2)
        with socket.create_connection(server.server_address):
            host.execute("fetch", BY_NAME["station.json"])  # the client before it has been accepted
            host.unload("fetch")
            assert set(threading.enumerate()) <= before


def test_fetch_works_again_after_a_reload(host):
    """A reload stops one server and starts another."""
    old = host.manager.get_plugin("fetch")._server
    host.reload("fetch")
    assert host.execute("fetch", BY_NAME["station.json"]) == BY_NAME["station.json"].stat().st_size
    assert old.fileno() == -1


# fragile


def test_fragile_returns_what_the_file_holds(host):
    """Well-formed JSON comes back as Python objects."""
    station = host.execute("fragile", BY_NAME["station.json"])
    assert station["name"] == "Skerry Point"
    assert station["instruments"][0]["kind"] == "radar"


@pytest.mark.parametrize("name", ["typed-by-hand.json", "upload-cut.json"])
def test_the_failure_of_fragile_is_in_the_aggregates(host, name):
    """A malformed file raises the parser's own error, and the profiler knows its type and words."""
    with observe(host) as observation:
        host.execute("fragile", BY_NAME["station.json"])
        with pytest.raises(json.JSONDecodeError) as caught:
            host.execute("fragile", BY_NAME[name])
        aggregates = observation.profiler.get_aggregates("fragile")
    assert (aggregates.execution_count, aggregates.failure_count) == (2, 1)
    assert aggregates.error_rate == 0.5
    assert aggregates.last_error == f"json.decoder.JSONDecodeError: {caught.value}"


# leaky


def test_leaky_keeps_four_mebibytes_each_time(host):
    """Memory that Python has handed out grows by a block for each execution."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = [host.execute("leaky", path) for path in FILES[:3]]
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept == [4 * MIB, 8 * MIB, 12 * MIB]
    assert 12 * MIB <= grown < 13 * MIB


def test_leaky_stops_growing_at_200_mebibytes(host):
    """However often it is executed, the example does not take the machine down."""
    kept = [host.execute("leaky", BY_NAME["station.json"]) for _ in range(60)]
    assert kept[49:] == [200 * MIB] * 11


def test_unloading_leaky_gives_its_memory_back(host):
    """The host lets go of the instance, and with it of everything it kept."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        host.execute("leaky", BY_NAME["station.json"])
        info = host.unload("leaky")
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert info.survivors == ("module 'pluginhost_examples.leaky'",)
    assert grown < MIB


def test_the_growth_of_leaky_is_observed():
    """In a process with no other thread, the profiler sees the resident set grow by the blocks."""
    printed = run_python(
        "from pathlib import Path; from pluginhost import PluginHost, Profiler, observe\n"
        "host = PluginHost('examples'); host.load('leaky'); host.load('checksum')\n"
        "with observe(host, profiler=Profiler(sampling_rate=1.0)) as observation:\n"
        "    for plugin_id in ['checksum', 'leaky'] * 5:\n"
        "        host.execute(plugin_id, Path('data/tides.csv'))\n"
        "hog = observation.profiler.get_memory_hogs()[0]\n"
        "print(hog.plugin_id, hog.memory_samples, round(hog.average_memory_bytes / 2**20))"
    )
    assert printed == "leaky 5 4\n"
