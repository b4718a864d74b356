"""One tree of errors. Each says which plugin and hook, what happened, and what to do next."""

from __future__ import annotations

from typing import ClassVar

from pluginhost.printable import in_a_line, printable


class PluginHostError(Exception):
    """The root of every error this package raises on purpose.

    `plugin_id` and `hook` name who is concerned (None where nobody is), `remedy` says what to do,
    and `docs_slug` is the section of the documentation's error page.
    """

    docs_slug: ClassVar[str] = "pluginhosterror"

    def __init__(
        self,
        message: str,
        *,
        plugin_id: str | None = None,
        hook: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.message = message
        self.plugin_id = plugin_id
        self.hook = hook
        self.remedy = remedy
        super().__init__(message)

    def __str__(self) -> str:
        parts = []
        if self.plugin_id is not None:
            parts.append(f"plugin {printable(self.plugin_id, 80)!r}: ")
        if self.hook is not None:
            parts.append(f"{printable(self.hook, 80)}: ")
        parts.append(in_a_line(self.message, 2000))
        if self.remedy:
            parts.append(f" - {printable(self.remedy, 2000)}")
        return "".join(parts)


def named(error: BaseException) -> str:
    """Return what went wrong in a line: what is ours says so itself, all else with its kind."""
    if isinstance(error, PluginHostError):
        return printable(error, 500)
    return f"{type(error).__name__}: {in_a_line(error, 300)}"


class DiscoveryError(PluginHostError):
    """A source could not be read at all."""

    docs_slug = "discoveryerror"


class PluginNotFoundError(PluginHostError, LookupError):
    """No plugin has this id; near names are suggested."""

    docs_slug = "pluginnotfounderror"


class PluginStateError(PluginHostError):
    """The plugin is not in a state that allows the call."""

    docs_slug = "pluginstateerror"


class PluginLoadError(PluginHostError):
    """A plugin could not be imported, constructed, registered or set up."""

    docs_slug = "pluginloaderror"


class ManifestError(PluginLoadError):
    """A `pluginhost.toml` is not readable, not TOML, or does not fit its schema."""

    docs_slug = "manifesterror"


class IncompatiblePluginError(PluginLoadError):
    """The plugin asks for a host API version, or a version of a peer, that is not here."""

    docs_slug = "incompatiblepluginerror"


class DependencyError(PluginLoadError):
    """A peer that a plugin requires is missing, or the two require each other."""

    docs_slug = "dependencyerror"


class PluginSkippedError(DependencyError):
    """A plugin was not loaded because a peer that it requires was not."""

    docs_slug = "pluginskippederror"


class DuplicatePluginError(PluginLoadError):
    """Two plugins claim one id; the one found first is kept."""

    docs_slug = "duplicatepluginerror"


class UntrustedPluginError(PluginLoadError):
    """A plugin may not be loaded: it is not allowed, not what was locked, or others can change it."""

    docs_slug = "untrustedpluginerror"


class LockFileError(PluginHostError):
    """A lock file is missing, not JSON, of another version, or cannot be written."""

    docs_slug = "lockfileerror"


class DeadlineExceededError(PluginHostError, TimeoutError):
    """The deadline of one execution passed before the plugin returned."""

    docs_slug = "deadlineexceedederror"


class WorkerCrashedError(PluginHostError):
    """The process that a plugin ran in has ended, or sent what is no answer and was killed.

    `exit_status` says how it ended, such as "SIGSEGV" or "exit code 3".
    """

    docs_slug = "workercrashederror"

    def __init__(self, message: str, *, exit_status: str = "", **about: str | None) -> None:
        self.exit_status = exit_status
        super().__init__(message, **about)


class QuarantinedPluginError(PluginLoadError, PluginStateError):
    """A plugin whose process crashed again and again is left alone for a while."""

    docs_slug = "quarantinedpluginerror"


class RemotePluginError(PluginHostError):
    """A plugin raised an exception in another process, from where only words are taken.

    `error_type` is the qualified name of the exception's type, `error_message` what it said,
    `remote_traceback` the traceback as text.
    """

    docs_slug = "remotepluginerror"

    def __init__(
        self,
        message: str,
        *,
        error_type: str = "",
        error_message: str = "",
        remote_traceback: str = "",
        **about: str | None,
    ) -> None:
        self.error_type = error_type
        self.error_message = error_message
        self.remote_traceback = remote_traceback
        super().__init__(message, **about)


class InvalidValueError(PluginHostError, ValueError):
    """A value given by the caller is out of range or makes no sense."""

    docs_slug = "invalidvalueerror"


class ReportFileError(PluginHostError):
    """A saved report is missing, truncated, not JSON, or of another schema version."""

    docs_slug = "reportfileerror"


class MissingExtraError(PluginHostError):
    """Something was asked for that needs a library which is not installed."""

    docs_slug = "missingextraerror"


class HistoryError(PluginHostError):
    """A history cannot be opened, read or written, or is not what it should be."""

    docs_slug = "historyerror"


class NewerHistoryError(HistoryError):
    """A history was made by a newer version; it is left as it is."""

    docs_slug = "newerhistoryerror"


class LaunchError(PluginHostError):
    """A program cannot be launched and observed: it is not there, or no Python program."""

    docs_slug = "launcherror"


class ExportError(PluginHostError):
    """A report cannot be exported: what the format needs is not installed, broken, or away."""

    docs_slug = "exporterror"


def check_count(value: object, what: str) -> None:
    """Raise `InvalidValueError` unless `value` is a whole number, 1 or more."""
    if type(value) is not int or value < 1:
        raise InvalidValueError(f"{what} is {value!r}", remedy="give a whole number, 1 or more")
