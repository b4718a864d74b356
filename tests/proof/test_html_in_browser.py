"""The page in a browser that nobody here wrote: it works offline, and obeys no name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from pluginhost.costs import FlameGraphNode
from pluginhost.exporters import export
from pluginhost.inside import InsideFrame, InsideProfile, Kind
from pluginhost.report import Report, read_report
from pluginhost.series import ChangePoint, Forecast, Series, SeriesPoint
from tests.proof.browser import browser, shown_as
from tests.unit.exporters.hostile_reports import NASTY, node
from tests.unit.exporters.test_html import metrics, performance, small

pytestmark = pytest.mark.proof
HOSTILE = "</title><script>document.title='obeyed'</script><img src=x onerror=alert(1)>"
NODES = 8_000


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    """A browser for all tests."""
    with browser() as found:
        yield found


@pytest.fixture
def opened(driver: Any, tmp_path: Path) -> Any:
    """Return `open(report)`, which gives the driver with its page; it may have no complaints."""

    def open_(report: Report, *, width: int = 1280, dark: bool = False) -> Any:
        file = tmp_path / "report.html"
        file.write_bytes(str(export("html", report)).encode())
        shown_as(driver, width=width, dark=dark)
        driver.get_log("browser")
        driver.get(f"file://{file}")
        assert driver.execute_script("return document.documentElement.dataset.ready") == "yes"
        return driver

    yield open_
    assert [entry["message"] for entry in driver.get_log("browser")] == []


def hostile() -> Report:
    """Return a report in which every name is the worst there is."""
    rows = tuple(
        metrics(name, number)
        for number, name in enumerate((HOSTILE, *NASTY, *(f"plugin{n}" for n in range(40))), 1)
    )
    tree = node(HOSTILE, 5, *(node(name, 10, node(f"inner {name}", 20)) for name in NASTY))
    frame = InsideFrame(function=HOSTILE, file=HOSTILE, line=1, value=5, self_value=5, samples=5)
    profile = InsideProfile(
        plugin_id=HOSTILE, kind=Kind.MEMORY, profiler=HOSTILE, value=9, frames=(frame,)
    )
    points = tuple(
        SeriesPoint(label=f"{HOSTILE} {n}", timestamp_ns=0, value=1e6 + n, low=9e5, high=2e6)
        for n in range(20)
    )
    change = ChangePoint(
        plugin=HOSTILE,
        metric="p50",
        position=9,
        label=HOSTILE,
        timestamp_ns=0,
        before=1,
        after=2,
        ratio=2.0,
        p_value=0.01,
        version_before=HOSTILE,
        version_after="2",
    )
    forecast = Forecast(
        plugin=HOSTILE,
        metric="p50",
        method="theil",
        basis=9,
        since="x",
        expected=1e6,
        low=9e5,
        high=2e6,
        confidence=0.95,
        slope=0.0,
        rising=False,
    )
    series = Series(
        plugin=HOSTILE,
        metric="p50",
        unit="ns",
        points=points,
        change_points=(change,),
        forecast=forecast,
        notes=(HOSTILE,),
    )
    known = performance(
        plugins=rows,
        flame_graph=tree,
        inside=(profile,),
        estimates=(HOSTILE,),
        histograms={HOSTILE: ((0x4974, 5), (0x4A74, 9))},
    )
    return small(name=HOSTILE, performance=known, series=(series,))


def large() -> Report:
    """Return a report whose flame graph has so many nodes, in ten levels."""
    level: list[FlameGraphNode] = [node(f"leaf{n}:run", 1000 + n) for n in range(NODES // 2)]
    made = len(level)
    while made < NODES - 1:
        size = max(2, len(level) // max(1, NODES - 1 - made) + 2)
        level = [
            node(f"plugin{n % 50}:hook{n}", 500, *level[n : n + size])
            for n in range(0, len(level), size)
        ]
        made += len(level)
        if len(level) == 1:
            break
    return small(performance=performance(flame_graph=node("all plugins", 0, *level)))


def text_of(driver: Any) -> str:
    found: str = driver.execute_script("return document.body.innerText")
    return found


def test_no_name_is_obeyed(opened: Any) -> None:
    """Not one element more than the page's own script makes; the names are there to read."""
    driver = opened(hostile())
    assert driver.title != "obeyed"
    for tag in ("img", "iframe", "link", "object"):
        assert (
            driver.execute_script("return document.getElementsByTagName(arguments[0]).length", tag)
            == 0
        )
    assert driver.execute_script("return document.scripts.length") == 2
    assert HOSTILE in text_of(driver)
    driver.execute_script("for (const each of document.querySelectorAll('button')) each.click()")
    assert driver.title != "obeyed"
    assert driver.execute_script("return document.scripts.length") == 2


def test_nothing_is_asked_of_anybody(opened: Any) -> None:
    """The browser has loaded the file and nothing else."""
    driver = opened(hostile())
    loaded = "return performance.getEntriesByType('resource').map((each) => each.name)"
    assert driver.execute_script(loaded) == []


def test_the_policy_stops_what_is_not_the_pages_own(driver: Any, tmp_path: Path) -> None:
    """Were a name obeyed after all, its script would not run, and nothing would be loaded."""
    file = tmp_path / "report.html"
    file.write_bytes(str(export("html", small())).encode())
    driver.get(f"file://{file}")
    ran = driver.execute_script(
        """
        const script = document.createElement("script");
        script.textContent = "window.obeyed = true";
        const image = document.createElement("img");
        image.src = "https://example.org/pixel.png";
        document.body.append(script, image);
        return Boolean(window.obeyed);
        """
    )
    assert not ran
    complaints = [entry["message"] for entry in driver.get_log("browser")]
    assert len(complaints) == 2
    assert all("Content Security Policy" in each for each in complaints)


def canvas_of(driver: Any) -> Any:
    from selenium.webdriver.common.by import By

    canvas = driver.find_element(By.CSS_SELECTOR, "#flame-0 canvas")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    return canvas


def test_the_flame_graph_of_many_nodes_zooms_where_it_is_clicked(opened: Any) -> None:
    """8,000 call paths: what is wide enough is drawn, a click zooms in, Whole zooms out."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    driver = opened(large())
    canvas = canvas_of(driver)
    assert canvas.get_attribute("data-focus") == "all plugins"
    drawn = int(canvas.get_attribute("data-drawn"))
    assert 50 < drawn <= NODES + 10
    box = canvas.rect
    where = ActionChains(driver).move_to_element_with_offset
    where(canvas, -int(box["width"] / 4), 30 - int(box["height"] / 2)).click().perform()
    focus = canvas.get_attribute("data-focus")
    assert focus.startswith("plugin")
    said = driver.find_element(By.CSS_SELECTOR, "#flame-0 .where p").text
    assert said.startswith(f"{focus}: ")
    assert "% of all" in said
    driver.find_element(By.XPATH, "//section[@id='flame-0']//button[text()='Whole']").click()
    assert canvas.get_attribute("data-focus") == "all plugins"


def test_the_flame_graph_works_with_the_keyboard(opened: Any) -> None:
    """Arrows move, Enter zooms, Escape goes back; what is selected is told in words."""
    from selenium.webdriver.common.keys import Keys

    driver = opened(
        small(
            performance=performance(
                flame_graph=node("all", 0, node("a", 10, node("c", 5)), node("b", 3))
            )
        )
    )
    canvas = canvas_of(driver)
    canvas.send_keys(Keys.ARROW_DOWN)
    assert canvas.get_attribute("data-selected") == "a"
    canvas.send_keys(Keys.ARROW_RIGHT)
    assert canvas.get_attribute("data-selected") == "b"
    canvas.send_keys(Keys.ARROW_LEFT, Keys.ARROW_DOWN, Keys.ENTER)
    assert canvas.get_attribute("data-focus") == "c"
    canvas.send_keys(Keys.ESCAPE)
    assert canvas.get_attribute("data-focus") == "all"


def test_search_tells_how_much_was_found(opened: Any) -> None:
    """Nodes within found nodes are not counted twice."""
    from selenium.webdriver.common.by import By

    driver = opened(
        small(
            performance=performance(
                flame_graph=node("all", 0, node("abc", 10, node("abc", 30)), node("b", 60))
            )
        )
    )
    driver.find_element(By.CSS_SELECTOR, "#flame-0 input").send_keys("ABC")
    found = driver.find_element(By.CSS_SELECTOR, "#flame-0 [role=status]").text
    assert found == "2 found, 40.0 % of all"


def test_tables_are_sorted_and_filtered(opened: Any) -> None:
    """A click on a heading sorts, another turns it round; a word leaves the rows with it."""
    from selenium.webdriver.common.by import By

    def cells() -> list[str]:
        rows = driver.find_elements(By.CSS_SELECTOR, "#plugins tbody tr td:first-child")
        return [row.text for row in rows]

    names = [f"plugin{n}" for n in range(12)]
    rows = tuple(metrics(name, number) for number, name in enumerate(names, 1))
    driver = opened(small(performance=performance(plugins=rows)))
    assert cells() == names[::-1]  # the costliest first
    heading = driver.find_element(By.CSS_SELECTOR, "#plugins th")
    heading.find_element(By.TAG_NAME, "button").click()
    assert cells() == names  # plugin9 before plugin10
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.find_element(By.TAG_NAME, "button").click()
    assert cells() == names[::-1]
    driver.find_element(By.CSS_SELECTOR, "#plugins input").send_keys("GIN11")
    assert cells() == ["plugin11"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_it_fits(opened: Any, width: int, dark: bool) -> None:
    """No scrolling sideways but within tables, and letters can be told from what is behind them."""
    driver = opened(hostile(), width=width, dark=dark)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    back, ink = driver.execute_script(
        "const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]"
    )
    assert (brightness(back) < brightness(ink)) is dark
    assert abs(brightness(back) - brightness(ink)) > 500


def brightness(color: str) -> int:
    return sum(int(part) for part in color[4:-1].split(","))


def test_it_prints(opened: Any) -> None:
    """To paper, or a PDF."""
    driver = opened(hostile())
    assert len(driver.print_page()) > 10_000


def saved_by(words: list[str], file: Path) -> Report:
    """Return the report that a command saves in `file`."""
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=file.parent, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    return read_report(file)


def test_a_run_of_a_host(opened: Any, tmp_path: Path) -> None:
    """Of real plugins: the answer, the tables, what is inside of one, and histograms."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mill.py").write_text(
        dedent(
            """
            from pluginhost import hookimpl

            def grind():
                total = 0
                for number in range(60_000):
                    total += number % 7
                return total

            @hookimpl
            def execute(payload):
                return grind()
            """
        )
    )
    file = tmp_path / "saved.json"
    words = ["pluginhost", "run", "-s", "plugins", "-n", "9", "--inside", "mill"]
    driver = opened(saved_by([*words, "--save", str(file)], file))
    text = text_of(driver)
    for expected in ("mill takes most time", "Inside mill, ", "grind", "What measuring cost"):
        assert expected in text
    assert driver.execute_script("return document.querySelectorAll('#spreads rect').length") > 0


def test_a_run_of_a_program(opened: Any, tmp_path: Path) -> None:
    """Of pytest itself: plugins, hooks, imports."""
    file = tmp_path / "saved.json"
    program = [sys.executable, "-m", "pytest", "--help"]
    words = ["pluginhost", "profile", "--save", str(file), "--", *program]
    report = saved_by(words, file)
    text = text_of(opened(report))
    for expected in ("costs most", "Plugins", "Hooks", "Who called whom"):
        assert expected in text


def test_a_test_suite(opened: Any, tmp_path: Path) -> None:
    """Tests, fixtures, files, and where the time goes."""
    (tmp_path / "test_it.py").write_text("def test_it(tmp_path):\n    assert tmp_path\n")
    file = tmp_path / "saved.json"
    words = ["pytest", "-q", "-p", "no:cacheprovider", ".", f"--plugin-profile-save={file}"]
    text = text_of(opened(saved_by(words, file)))
    for expected in ("Tests", "Fixtures", "Files", "test_it.py::test_it", "1 test: 1 passed"):
        assert expected in text
