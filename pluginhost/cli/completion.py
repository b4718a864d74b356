"""`pluginhost completion`: what a shell needs to complete commands, options and plugin ids."""

from __future__ import annotations

import click

from pluginhost.cli import exits

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", epilog=exits.HELP)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print what teaches your shell to complete commands and plugins.

    Have it read whenever the shell starts, with one line in the file in brackets:

    \b
      bash  eval "$(pluginhost completion bash)"     [~/.bashrc]
      zsh   eval "$(pluginhost completion zsh)"      [~/.zshrc]
      fish  pluginhost completion fish | source      [~/.config/fish/config.fish]
    """  # noqa: D301  # click reads the escape as: keep these lines as they are
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # click has one for each of SHELLS
    click.echo(kind(ctx.find_root().command, {}, "pluginhost", "_PLUGINHOST_COMPLETE").source())
