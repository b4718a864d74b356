"""The commands of `pluginhost`, and how they are found, helped and ended.

A new command is one file with a click command named `command` and one line in `COMMANDS`. (This
is not in the package's `__init__`: there, importing `list.py` would hide the builtin `list`.)
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from pluginhost.cli import exits

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "list": "Show which plugins there are, without importing them.",
    "run": "Load plugins, run them, and report what each one costs.",
    "profile": "Run any program on pluggy, and report what its plugins cost.",
    "report": "Show the report of a saved run again.",
    "export": "Turn a saved run into the format of another tool.",
    "compare": "Tell which plugin got slower between two saved runs.",
    "history": "Show what is kept of many runs, and what changed over them.",
    "serve-metrics": "Serve a saved run or a history for Prometheus to scrape.",
    "gate": "Fail when a plugin is over its budget, for continuous integration.",
    "bisect": "Find the plugin, or the pair, that makes a program fail or slow.",
    "doctor": "Say what is wrong with plugins, what they change and leave behind.",
    "lock": "Write down which plugins may be loaded, with their code's sha256.",
    "completion": "Print what teaches your shell to complete commands and plugins.",
}
"""Each command, which is `command` in `module_of` its name, with its short help."""


def module_of(name: str) -> str:
    """Return the module of a command: that of its name, with `_` for `-`."""
    return f"pluginhost.cli.{name.replace('-', '_')}"


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used.

    Errors of this package end as one message and an exit code, without a traceback.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, as a reader wants them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command, None when there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(module_of(cmd_name)).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that begin so, importing none; else what click completes."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=text)
            for name, text in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is asked for; of an unknown one, say which name is near."""
        name = args[0]
        if name not in COMMANDS and not ctx.resilient_parsing:
            from difflib import get_close_matches

            near = get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"There is no command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, turning what goes wrong into messages and exit codes."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            from pluginhost.cli.console import abandon

            abandon(sys.stdout)
            ctx.exit(exits.PIPE_CLOSED)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(exits.INTERRUPTED)
        except Exception as error:
            message = _message_of(error)
            if message is None:
                raise
            raise message from error


def _message_of(error: Exception) -> click.ClickException | None:
    """Return how an error of this package is told on the command line, None for other errors."""
    from pluginhost import errors

    if not isinstance(error, errors.PluginHostError):
        return None
    wrong_usage = (
        errors.DiscoveryError,
        errors.PluginNotFoundError,
        errors.InvalidValueError,
        errors.LaunchError,
        errors.MissingExtraError,
    )
    kind = exits.WrongUsageError if isinstance(error, wrong_usage) else exits.BrokenFileError
    return kind(str(error))


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, epilog=exits.HELP
)
@click.version_option(package_name="pluginhost", message="%(prog)s %(version)s")
def main() -> None:
    """Load plugins, run them, and see what each one costs.

    Plugins come from sources: installed entry points, folders, modules. Begin with
    'pluginhost list', then 'pluginhost run'; every command has its own --help.
    """
