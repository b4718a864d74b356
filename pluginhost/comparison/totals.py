"""What each plugin of a program cost in all, in one run and in another."""

from __future__ import annotations

from pluginhost.comparison.records import CostChange
from pluginhost.comparison.suites import suite_rows
from pluginhost.costs import PluginCost
from pluginhost.errors import ReportFileError
from pluginhost.report import Report


def cost_changes(before: Report, after: Report) -> tuple[CostChange, ...]:
    """Return the plugins of two runs of programs, the largest change first; else nothing.

    `ReportFileError` is raised where one is a program's and the other a plugin host's: what a hook
    call takes and what an execution takes are not the same thing.
    """
    if (before.costs is None) != (after.costs is None):
        program, host = (before, after) if before.costs is not None else (after, before)
        raise ReportFileError(
            f"{program.name!r} was saved by 'profile', {host.name!r} is the run of a plugin host",
            remedy="compare two runs of one kind",
        )
    if before.costs is None or after.costs is None:
        return ()
    old = {row.name: row for row in before.costs.plugins}
    new = {row.name: row for row in after.costs.plugins}
    changes = [_change(name, old.get(name), new.get(name)) for name in {**old, **new}]
    changes += _suite_changes(before, after)
    return tuple(sorted(changes, key=lambda change: (-abs(change.change_ns), change.plugin)))


def _suite_changes(before: Report, after: Report) -> list[CostChange]:
    """Return the fixtures and files of two runs of test suites."""
    old = {row.subject: row for row in suite_rows(before.suite)}
    new = {row.subject: row for row in suite_rows(after.suite)}
    return [
        CostChange(
            plugin=name,
            import_before_ns=old[name].import_ns if name in old else None,
            import_after_ns=new[name].import_ns if name in new else None,
            self_before_ns=old[name].self_ns if name in old else None,
            self_after_ns=new[name].self_ns if name in new else None,
        )
        for name in {**old, **new}
    ]


def _change(name: str, old: PluginCost | None, new: PluginCost | None) -> CostChange:
    return CostChange(
        plugin=name,
        version_before=old.version if old else None,
        version_after=new.version if new else None,
        import_before_ns=old.import_ns if old else None,
        import_after_ns=new.import_ns if new else None,
        self_before_ns=old.self_ns if old else None,
        self_after_ns=new.self_ns if new else None,
    )
