"""`pluginhost compare`: which plugin got slower between two saved runs."""

from __future__ import annotations

import click

from pluginhost.cli import exits
from pluginhost.cli.options import share


@click.command("compare", epilog=exits.HELP)
@click.argument("before", type=click.Path())
@click.argument("after", type=click.Path())
@click.option(
    "--min-effect",
    type=share,
    default="5%",
    show_default=True,
    metavar="SHARE",
    help="The smallest change of a median that counts, 1% or more.",
)
@click.option(
    "--min-difference",
    type=click.FloatRange(min=0),
    default=1e-6,
    show_default="0.000001",
    metavar="SECONDS",
    help="The smallest difference that counts, however large a share it is.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    metavar="P",
    help="How likely a change may be found where there is none, over all plugins together.",
)
@click.option(
    "--relative",
    is_flag=True,
    help="Where most plugins changed alike, judge each against that: for runs on machines that"
    " are not equally fast.",
)
@click.option(
    "--fail-on-regression",
    is_flag=True,
    help="Exit with 1 when a plugin is slower, fails more often, or cannot be loaded any more.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def command(
    *,
    before: str,
    after: str,
    min_effect: float,
    min_difference: float,
    alpha: float,
    relative: bool,
    fail_on_regression: bool,
    as_json: bool,
) -> None:
    """Tell which plugin got slower between two saved runs.

    BEFORE and AFTER are files that '--save FILE' of 'pluginhost run' has written, or both of
    'pluginhost profile': then each hook of each plugin is compared. A plugin is slower
    when its median changed by the minimum effect or more, and the Mann-Whitney U test, corrected
    for the number of plugins (Holm), says that this is more than noise. At least 10 executions of
    a plugin are needed in each run; 100 are better.
    """
    from pluginhost.cli.comparison_lines import comparison_lines, summary
    from pluginhost.cli.console import Console
    from pluginhost.comparison import compare
    from pluginhost.report import encode, read_report
    from pluginhost.seconds import ns_of_seconds

    comparison = compare(
        read_report(before),
        read_report(after),
        min_effect=min_effect,
        alpha=alpha,
        min_difference_ns=ns_of_seconds(min_difference, "the minimum difference"),
        relative=relative,
    )
    if as_json:
        Console().data(encode(comparison))
    else:
        Console().show(comparison_lines(comparison, before, after))
    if fail_on_regression and comparison.regressions:
        if as_json:
            click.echo(summary(comparison), err=True)
        click.get_current_context().exit(exits.NO)
