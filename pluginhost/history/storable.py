"""Foreign text made safe to store: databases refuse what Python's strings can hold."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256

FIELD_BYTES = 8_192
LABEL_BYTES = 1_000
"""How much of a text is kept; what was longer says so."""

NAME_LENGTH = 400
"""How long a name may be: it stands in an index, where PostgreSQL takes 2700 bytes at most."""

_NOT_STORED = re.compile("[\\x00\ud800-\udfff]")
_ESCAPED = re.compile(r"\\(\\|x00|u[0-9a-f]{4})")


def stored_name(name: str) -> str:
    """Return a name as it is stored: two different names stay different; see `shown_name`.

    A null character and lone surrogates become escapes, and therefore the backslash, too. What is
    too long is cut, and told apart by its sha256.
    """
    text = name.replace("\\", "\\\\")
    text = _NOT_STORED.sub(lambda found: _escape(found[0]), text)
    if len(text) <= NAME_LENGTH:
        return text
    digest = sha256(text.encode("utf-8")).hexdigest()[:16]
    return f"{text[:NAME_LENGTH]}...{digest}"


def shown_name(text: str) -> str:
    """Return a stored name as it was, if it was not cut."""
    if "\\" not in text:
        return text
    return _ESCAPED.sub(lambda found: _unescape(found[1]), text)


def stored_text(text: object, limit: int = FIELD_BYTES) -> str:
    """Return foreign text as it is stored, with escapes for what is not; at most `limit` bytes."""
    raw = str(text) if isinstance(text, str) else f"<{type(text).__name__}>"
    cut = _NOT_STORED.sub(lambda found: _escape(found[0]), raw[:limit])
    encoded = cut.encode("utf-8")
    if len(raw) <= limit and len(encoded) <= limit:
        return cut
    mark = f"... ({len(raw)} characters)"
    return encoded[: limit - len(mark)].decode("utf-8", "ignore") + mark


def stored_metadata(metadata: Mapping[str, str]) -> str | None:
    """Return metadata as JSON of at most `FIELD_BYTES`; what did not fit is counted in it."""
    if not metadata:
        return None
    kept: dict[str, object] = {}
    left = FIELD_BYTES - 64
    for name, value in metadata.items():
        pair = {stored_text(name, 256): stored_text(value, FIELD_BYTES // 2)}
        left -= len(json.dumps(pair))
        if left < 0:
            break
        kept |= pair
    if len(kept) < len(metadata):
        kept["(left out)"] = len(metadata) - len(kept)
    return json.dumps(kept)


def stored_number(value: float | None) -> float | None:
    """Return a number, None for what is not finite."""
    if value is None or value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124
        return None
    return float(value)


def stored_count(value: int) -> int:
    """Return an integer within what a database's largest holds."""
    return max(-(2**63), min(2**63 - 1, value))


def _escape(character: str) -> str:
    return "\\x00" if character == "\0" else f"\\u{ord(character):04x}"


def _unescape(text: str) -> str:
    if text == "\\":
        return "\\"
    return chr(int(text[1:], 16))
