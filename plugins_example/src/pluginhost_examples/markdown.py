"""Renders Markdown to HTML. A whole plugin: one function, marked as an implementation."""

from __future__ import annotations

from pathlib import Path

from markdown_it import MarkdownIt

from pluginhost import hookimpl


@hookimpl
def execute(payload: Path) -> str | None:
    """Return the HTML of a `.md` file, None for any other."""
    if payload.suffix.lower() != ".md":
        return None
    renderer = MarkdownIt("commonmark").enable("table")
    html: str = renderer.render(payload.read_text(encoding="utf-8"))
    return html
