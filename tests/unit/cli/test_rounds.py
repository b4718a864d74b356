"""The measured part of a run: turns, failures, interrupts."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pluginhost.cli.rounds import Outcome, Plan, Stoppable, measure
from pluginhost.errors import PluginNotFoundError

TAKES_NOTES = """
    from pathlib import Path
    import pluginhost

    @pluginhost.hookimpl
    def execute(payload):
        with Path({path!r}).open("a") as notes:
            print({name!r}, payload, file=notes)
    """


pytestmark = pytest.mark.usefixtures("ctrl_c")


@pytest.fixture
def run(make_host: Callable[..., Any], plugin_folder: Any) -> Callable[..., Outcome]:
    """Return `run(files, ...)`, which measures the plugins in these files as a plan says."""

    def run(
        files: dict[str, str],
        *,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
        **plan: Any,
    ) -> Outcome:
        return measure(make_host(plugin_folder(files)), Plan(**plan), on_progress)

    return run


def _counts(outcome: Outcome) -> dict[str, tuple[int, int]]:
    """Return executions and failures by plugin."""
    assert outcome.report.performance is not None
    rows = outcome.report.performance.plugins
    return {r.plugin_id: (r.execution_count, r.failure_count + r.timeout_count) for r in rows}


def _plugin(body: str) -> str:
    return f"import pluginhost\n\n@pluginhost.hookimpl\ndef execute(payload):\n    {body}\n"


def test_plugins_take_turns(run: Callable[..., Outcome], tmp_path: Path) -> None:
    """Each repeat goes through the inputs, and each input through the plugins."""
    notes = tmp_path / "notes"
    outcome = run(
        {f"{name}.py": TAKES_NOTES.format(path=str(notes), name=name) for name in ("a", "b")},
        payloads=(Path("1"), Path("2")),
        repeat=2,
    )
    one_round = ["a 1", "b 1", "a 2", "b 2"]
    assert notes.read_text().splitlines() == one_round * 2
    assert (outcome.done, outcome.total) == (8, 8)


def test_the_plugins_wanted_run_in_the_order_wanted(
    run: Callable[..., Outcome], tmp_path: Path
) -> None:
    """Others stay unloaded."""
    notes = tmp_path / "notes"
    files = {
        f"{name}.py": TAKES_NOTES.format(path=str(notes), name=name) for name in ("a", "b", "c")
    }
    outcome = run(files, plugin_ids=("c", "a"))
    assert notes.read_text().splitlines() == ["c None", "a None"]
    states = {info.id: str(info.state) for info in outcome.report.plugins}
    assert states == {"a": "unloaded", "b": "discovered", "c": "unloaded"}


def test_an_unknown_plugin_is_refused_before_any_is_loaded(
    run: Callable[..., Outcome], make_host: Callable[..., Any], plugin_folder: Any
) -> None:
    """A long run must not fail half-way over a typing error."""
    host = make_host(plugin_folder({"words.py": _plugin("pass")}))
    with pytest.raises(PluginNotFoundError, match="'words'"):
        measure(host, Plan(plugin_ids=("words", "wurds")), lambda done, total: None)
    assert str(host.plugins["words"].state) == "discovered"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("raise ValueError('no')", id="exception"),
        pytest.param("raise SystemExit(3)", id="SystemExit"),
        pytest.param("raise GeneratorExit", id="GeneratorExit"),
        pytest.param("raise BaseExceptionGroup('x', [SystemExit()])", id="a group"),
    ],
)
def test_whatever_a_plugin_raises_the_others_go_on(run: Callable[..., Outcome], body: str) -> None:
    """The run goes to its end."""
    outcome = run({"bad.py": _plugin(body), "good.py": _plugin("pass")}, repeat=3)
    assert (outcome.done, outcome.interrupted) == (6, False)
    assert _counts(outcome)["good"] == (3, 0)
    assert _counts(outcome)["bad"][0] == 3


def test_asynchronous_plugins_just_work(run: Callable[..., Outcome]) -> None:
    """They are awaited."""
    source = _plugin("import asyncio; await asyncio.sleep(0.002)").replace("def ", "async def ")
    outcome = run({"a.py": source}, repeat=2)
    assert _counts(outcome) == {"a": (2, 0)}
    assert outcome.report.performance.plugins[0].min_duration_ns >= 2_000_000


def test_the_deadline_is_kept(run: Callable[..., Outcome]) -> None:
    """An execution that takes longer is a failed one."""
    outcome = run({"slow.py": _plugin("__import__('time').sleep(0.2)")}, deadline=0.01)
    assert _counts(outcome) == {"slow": (1, 1)}


def test_the_sampling_rate_is_that_of_the_plan(run: Callable[..., Outcome]) -> None:
    """0 reads nothing, 1 everything."""
    for rate, sampled in ((0.0, 0), (1.0, 4)):
        outcome = run({"a.py": _plugin("pass")}, repeat=4, sampling_rate=rate)
        assert outcome.report.performance.plugins[0].sampled_count == sampled
        assert outcome.report.performance.sampling_rate == rate


def test_a_plugin_with_nothing_to_execute_is_idle(run: Callable[..., Outcome]) -> None:
    """It is loaded and unloaded, and not counted among the executions."""
    idle = "import pluginhost\n\n@pluginhost.hookimpl\ndef setup(host): pass\n"
    outcome = run({"idle.py": idle, "busy.py": _plugin("pass")}, repeat=3)
    assert outcome.idle == ("idle",)
    assert (outcome.done, outcome.total) == (3, 3)
    assert _counts(outcome) == {"busy": (3, 0)}


def test_a_state_error_from_within_a_plugin_is_a_failure(run: Callable[..., Outcome]) -> None:
    """A plugin that asks for another that cannot execute has failed; it is not idle."""
    idle = "import pluginhost\n\n@pluginhost.hookimpl\ndef setup(host): pass\n"
    asks = _plugin("host.execute('idle')").replace("(payload)", "(payload, host)")
    outcome = run({"idle.py": idle, "asks.py": asks}, repeat=3)
    assert outcome.idle == ("idle",)
    assert _counts(outcome) == {"asks": (3, 3)}


def test_what_teardown_raises_is_told_and_not_fatal(run: Callable[..., Outcome]) -> None:
    """Each plugin is unloaded, whatever the others raise; the text is made safe."""
    bad = "\n@pluginhost.hookimpl\ndef teardown(host):\n    raise {}\n"
    outcome = run(
        {
            "a.py": _plugin("pass") + bad.format("ValueError('a\\x1b')"),
            "b.py": _plugin("pass") + bad.format("SystemExit(4)"),
        }
    )
    assert sorted(outcome.left_behind) == ["SystemExit: 4", "ValueError: a\\x1b"]
    assert {str(info.state) for info in outcome.report.plugins} == {"unloaded"}


def test_what_plugins_print_goes_to_standard_error(
    run: Callable[..., Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output is the report's."""
    run({"a.py": "print('on import')\n" + _plugin("print('at work')")})
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "on import\nat work\n"


def test_progress_is_told_after_each_execution(run: Callable[..., Outcome]) -> None:
    """How many are done, of how many."""
    told: list[tuple[int, int]] = []
    run({"a.py": _plugin("pass")}, repeat=3, on_progress=lambda *now: told.append(now))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("import signal; signal.raise_signal(signal.SIGINT)", id="passes it on"),
        pytest.param(
            "import signal\n    try: signal.raise_signal(signal.SIGINT)\n    except: pass",
            id="swallows it",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_ctrl_c_ends_the_run_with_a_report(
    run: Callable[..., Outcome], body: str, kind: str
) -> None:
    """What was measured until then is there, and everything is unloaded."""
    files = {"a.py": _plugin("pass"), "b.py": _plugin(body).replace("def ", f"{kind} ", 1)}
    outcome = run(files, repeat=100)
    assert outcome.interrupted
    assert 1 <= outcome.done <= 2
    assert outcome.total == 200
    assert _counts(outcome)["a"] == (1, 0)
    assert {str(info.state) for info in outcome.report.plugins} == {"unloaded"}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_while_loading_ends_the_run_with_a_report(run: Callable[..., Outcome]) -> None:
    """What was loaded until then is unloaded; nothing is executed."""
    outcome = run(
        {
            "a.py": _plugin("pass"),
            "b.py": "import signal; signal.raise_signal(signal.SIGINT)\n" + _plugin("pass"),
        }
    )
    assert outcome.interrupted
    assert outcome.done == 0
    states = {info.id: str(info.state) for info in outcome.report.plugins}
    assert states == {"a": "unloaded", "b": "discovered"}


def test_ctrl_c_while_unloading_still_gives_the_report(run: Callable[..., Outcome]) -> None:
    """The run itself was complete."""
    teardown = (
        "\n@pluginhost.hookimpl\ndef teardown(host):\n"
        "    import signal; signal.raise_signal(signal.SIGINT)\n"
    )
    outcome = run({"a.py": _plugin("pass") + teardown})
    assert (outcome.interrupted, outcome.done) == (False, 1)
    assert _counts(outcome) == {"a": (1, 0)}


def test_a_handler_of_somebody_else_is_left_in_place() -> None:
    """A program that has its own ideas of Ctrl-C keeps them."""
    own = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Stoppable() as block:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert not block.stopped
    finally:
        signal.signal(signal.SIGINT, own)


def test_other_errors_pass_through_a_stoppable_block() -> None:
    """Only Ctrl-C is quiet."""
    with pytest.raises(ZeroDivisionError), Stoppable():
        raise ZeroDivisionError
