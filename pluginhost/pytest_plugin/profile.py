"""The plugin that records a session, and reports when it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pluginhost.capture import Capture
from pluginhost.instrumentation.tap import is_tapped
from pluginhost.printable import printable
from pluginhost.pytest_plugin.at_exit import AtExit
from pluginhost.pytest_plugin.autouse import AutouseFixtures
from pluginhost.pytest_plugin.fixtures_seen import FixturesSeen
from pluginhost.pytest_plugin.hooks_of_pytest import SPARED
from pluginhost.pytest_plugin.process_start import is_worker, started_ns
from pluginhost.pytest_plugin.rewriting import RewritingSource
from pluginhost.pytest_plugin.settings import Settings
from pluginhost.pytest_plugin.suite_capture import SuiteCapture
from pluginhost.pytest_plugin.table import TestTable
from pluginhost.pytest_plugin.timing import SuiteTimer
from pluginhost.recording import CPU_GAP_NS, Recorder

if TYPE_CHECKING:
    from pluginhost.pytest_plugin.outcome import Outcome
    from pluginhost.pytest_plugin.workers import Workers

NAME = "pluginhost-profile"
_KNOWN = ("_pytest.", "pluginhost.")


def begin(config: Any) -> None:
    """Record everything in this process from now on, and register who reports it.

    Unless somebody records it already, such as the launcher.
    """
    begun_ns = time.perf_counter_ns()
    manager: Any = config.pluginmanager
    if manager.has_plugin(NAME):
        return
    if is_tapped(manager):
        from pluginhost.pytest_plugin.declining import Declining

        manager.register(Declining(), NAME)
    else:
        manager.register(SuiteProfile(config, begun_ns), NAME)


class SuiteProfile:
    """Records one session; made before the other plugins, if we are asked to be that early."""

    def __init__(self, config: Any, begun_ns: int) -> None:
        self.config = config
        self.settings = Settings.of(config)
        worker = is_worker()
        self._started_ns = started_ns(worker=worker)
        alone = self._started_ns is not None and not worker
        self._at_exit = AtExit() if alone else None
        self._early = tuple(
            printable(plugin.__name__, 300)
            for _, plugin in config.pluginmanager.list_name_plugin()
            if isinstance(plugin, type(time)) and not plugin.__name__.startswith(_KNOWN)
        )
        wall_only = self.settings.wall_only
        self._earlier_cpu_ns = time.process_time_ns() if self._started_ns is not None else 0
        self._recorder = Recorder(
            cpu_gap_ns=None if wall_only else CPU_GAP_NS, begun_ns=begun_ns, sparing=SPARED
        )
        self._table = TestTable(self.settings.memory)
        # A hook implementation of ours that is called for each phase of each test, so not through us:
        self.pytest_runtest_logreport = self._table.pytest_runtest_logreport
        self._fixtures = FixturesSeen(self._recorder.nesting)
        self._autouse = AutouseFixtures(self._recorder.nesting)
        self._rewriting = RewritingSource(config.pluginmanager.rewrite_hook, self._recorder.nesting)
        self._session: Any = None
        self._ended = "finished"
        self._workers: Workers | None = None
        self._outcome: Outcome | None = None
        self._stopped = self._over = self._has_failed = False
        self._record()
        config.add_cleanup(self.end)  # the first to be added is the last to be called

    def _record(self) -> None:
        timer = self._timer = SuiteTimer(self._recorder, self._table, self._fixtures)
        self._rewriting.start()
        self._recorder.start()
        manager = self.config.pluginmanager
        self._recorder.watch(manager, through=timer.through, like_own=(NAME,))

    def stop(self) -> None:
        """Take everything out again."""
        if not self._stopped:
            self._stopped = True
            self._autouse.stop()
            self._rewriting.stop()
            self._recorder.close()
            self._tried(self._table.close)

    def capture(self) -> SuiteCapture:
        """Return all that was recorded in this process until now."""
        from pluginhost.pytest_plugin.needed import needed_of, used_by_tests
        from pluginhost.pytest_plugin.used import used_of

        self._table.finish()
        capture = self._recorder.capture(self._ended)
        table = self._table
        markers, marker_sets = _markers(table.ids, self._session)
        fixtures = used_by_tests(self._session)
        return SuiteCapture(
            capture=_without(capture, self._timer.untimed),
            started_ns=self._started_ns,
            earlier_cpu_ns=self._earlier_cpu_ns,
            fixtures=self._fixtures.found(fixtures),
            needed=needed_of(self._session, fixtures),
            used=() if hasattr(self.config, "workerinput") else used_of(self.config),
            ids=table.printable_ids(),
            outcomes=table.outcomes.tobytes(),
            columns={name: column.tobytes() for name, column in table.columns.items()},
            markers=markers,
            marker_sets=marker_sets,
            early=self._early,
            memory=self.settings.memory,
            bytes_per_test=table.bytes_per_test(),
            unclear=table.unclear,
            untraced=table.untraced,
            ended=self._ended,
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests(self, early_config: Any) -> None:
        """Step back if it turns out that nobody has asked: an option's value looked like it.

        Or if somebody has taken us out since, as `-p no:pluginhost` does after a `-p pluginhost`.
        """
        manager = self.config.pluginmanager
        if manager.is_blocked("pluginhost") or not self.settings.is_asked(early_config):
            self.stop()
            manager.unregister(self)
            if self._at_exit is not None:
                self._at_exit.withdraw()

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: Any) -> None:
        """Have processes that run tests for this one record as well; say what cannot work."""
        config.option.plugin_profile = True
        self.settings.check()

    def pytest_sessionstart(self, session: Any) -> None:
        """Keep the session, whose tests have markers."""
        self._session = session

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: Any) -> None:
        """Time the fixtures that plugins set up unasked, now that all are known."""
        if not self._stopped:
            self._tried(self._autouse.start, session)

    def pytest_keyboard_interrupt(self) -> None:
        """Keep why the session ended early."""
        self._ended = "interrupted"

    def pytest_internalerror(self) -> None:
        """Keep why the session ended early."""
        self._ended = "internal error"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: Any) -> None:
        """Hand over what was recorded, if this process runs tests for another."""
        stopped = session.shouldfail or session.shouldstop
        if stopped and self._ended == "finished":
            self._ended = printable(stopped, 200)
        if hasattr(self.config, "workeroutput"):
            self._tried(self._hand_over)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Expect what a process records that is to run tests for this one."""
        self._tried(self._expect, node)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: Any) -> None:
        """Take what a process has recorded that ran tests for this one."""
        if self._workers is not None:
            self._workers.ended(node, error)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Show where the time went, below everything else."""
        self._tried(self._tell, terminalreporter)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_unconfigure(self, config: Any) -> Generator[None, None, None]:
        """Record what pytest has to clean up after this; it may not come to it where this fails."""
        try:
            yield
        except BaseException:
            self.end()
            raise
        if not self._stopped:
            config.add_cleanup(self._timer.begin_ending)  # the last to be added is the first

    def end(self) -> None:
        """Record no more, and tell what no summary has and what came after it."""
        if self._over:
            return
        self._over = True
        self._timer.end_ending()
        self.stop()
        if self._session is None or hasattr(self.config, "workeroutput"):
            return
        self._tried(self._tell, self.config.pluginmanager.get_plugin("terminalreporter"))
        if self._outcome is not None:
            self._tried(self._outcome.conclude, self.capture, self._at_exit)

    def _tried(self, function: Callable[..., None], *arguments: Any) -> None:
        """Do what is ours alone: whatever goes wrong there, the session ends as it would have.

        It is said once. Nothing may be imported here: a suite may have seen to it that nothing can be.
        """
        try:
            function(*arguments)
        except Exception as error:
            what = printable(f"{type(error).__name__}: {error}", 400)
            terminal = self.config.pluginmanager.get_plugin("terminalreporter")
            said, self._has_failed = self._has_failed, True
            if terminal is not None and not said:
                text = f"pluginhost: the profile could not be worked out: {what}"
                terminal.write_line(text, red=True)

    def _hand_over(self) -> None:
        from pluginhost.pytest_plugin.workers import hand_over

        hand_over(self)

    def _expect(self, node: Any) -> None:
        if self._workers is None:
            from pluginhost.pytest_plugin.workers import Workers

            self._workers = Workers()
        self._workers.started(node)

    def _tell(self, terminal: Any) -> None:
        """Work out where the time went, once, and tell everybody who wanted to know."""
        if self._outcome is not None or hasattr(self.config, "workeroutput"):
            return
        from pluginhost.pytest_plugin.outcome import Outcome

        workers = self._workers or ()
        self._outcome = Outcome(self.config, self.settings, terminal, self._session, workers)
        self._outcome.tell(self.capture)


def _without(capture: Capture, untimed: set[tuple[str, str]]) -> Capture:
    """Return a capture that does not say of what was not timed that it was never called."""
    managers = tuple(
        msgspec.structs.replace(
            manager,
            implementations=tuple(
                each for each in manager.implementations if (each.plugin, each.hook) not in untimed
            ),
        )
        for manager in capture.managers
    )
    return msgspec.structs.replace(capture, managers=managers)


def _markers(ids: list[str], session: Any) -> tuple[tuple[int, ...], tuple[tuple[str, ...], ...]]:
    """Return for each test which set of markers it has, and these sets."""
    items = getattr(session, "items", None) or ()
    # What tests that are alike have in common, at C speed:
    parents = map(id, map(attrgetter("parent"), items))
    own = map(map, repeat(attrgetter("name")), map(attrgetter("own_markers"), items))
    keys = list(zip(parents, map(tuple, own), strict=True))
    sets: dict[tuple[str, ...], int] = {(): 0}
    set_of = {}
    for key, item in dict(zip(keys, items, strict=True)).items():
        names = tuple(sorted({printable(mark.name, 100) for mark in item.iter_markers()}))
        set_of[key] = sets.setdefault(names, len(sets))
    nodeids = map(attrgetter("nodeid"), items)
    by_id = dict(zip(nodeids, map(set_of.__getitem__, keys), strict=True))
    return tuple(map(by_id.get, ids, repeat(0))), tuple(sets)
