"""A report as one HTML file that needs nothing else: no request leaves the reader's machine.

What the report says is data in the page, never markup or code: JSON in a script element that is
not executed, of which the page's own script makes text nodes. A content security policy lets
nothing run but that script, and nothing be loaded at all.
"""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from html import escape
from importlib.resources import files

import msgspec

from pluginhost.exporters.html.contents import document_of
from pluginhost.report import Report

_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}


def html_text(report: Report) -> str:
    """Return a report of any kind as a page."""
    document = document_of(report)
    style, script = _file("page.css"), _file("page.js")
    values = {
        "policy": "; ".join(
            (
                "default-src 'none'",
                f"script-src {_hash(script)}",
                f"style-src {_hash(style)}",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
        "title": escape(f"{document.title} - {document.subtitle}"),
        "style": style,
        "data": embedded(msgspec.to_builtins(document)),
        "script": script,
    }
    parts = _file("page.html").split("@@")
    return "".join(part if n % 2 == 0 else values[part] for n, part in enumerate(parts))


def embedded(data: object) -> str:
    """Return `data` as JSON that cannot end the script element it stands in."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
