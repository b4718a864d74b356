"""Reports as text that a tired person takes in at a glance, 80 columns wide.

A report becomes lines of (text, style) spans. `plain` drops the styles; a terminal front-end
gives them colours. Nothing here measures: it shows what the records say, the worst first.
"""

from pluginhost.rendering.analytics import analytics_lines, analytics_text
from pluginhost.rendering.costs import cost_lines, cost_text, verification_lines
from pluginhost.rendering.lines import WIDTH, Line, Span, paragraph, plain
from pluginhost.rendering.performance import performance_lines, performance_text
from pluginhost.rendering.suite import answer, part_name, suite_lines, suite_text

__all__ = [
    "WIDTH",
    "Line",
    "Span",
    "analytics_lines",
    "analytics_text",
    "answer",
    "cost_lines",
    "cost_text",
    "paragraph",
    "part_name",
    "performance_lines",
    "performance_text",
    "plain",
    "suite_lines",
    "suite_text",
    "verification_lines",
]
