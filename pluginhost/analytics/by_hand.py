"""Events recorded by hand, made into what comes over the bus."""

from __future__ import annotations

from operator import le
from typing import Any

from pluginhost.analytics.records import AnalyticsEvent
from pluginhost.events import RECORD_WIDTH
from pluginhost.journal import Detail, Failure, Status
from pluginhost.printable import printable


def detail_of(event: AnalyticsEvent) -> Detail:
    """Return what a journal record says of `event` beside its times; foreign text is made safe."""
    status = Status(event.status)  # it fails here, not when others are taken along with it
    failure = None
    if status is not Status.SUCCESS or event.error_message:
        message = None if event.error_message is None else printable(event.error_message, 1000)
        failure = Failure(status, event.error_type and printable(event.error_type), message)
    metadata = {printable(k): printable(v) for k, v in event.metadata.items()} or None
    return Detail(failure, None, metadata)


def in_order_of_ends(records: list[Any]) -> list[Any]:
    """Return journal records in the order of their ends; by hand they may come in any order."""
    ends_ns = records[2::RECORD_WIDTH]
    if all(map(le, ends_ns, ends_ns[1:])):
        return records
    order = sorted(range(len(ends_ns)), key=ends_ns.__getitem__)
    return [x for i in order for x in records[i * RECORD_WIDTH : (i + 1) * RECORD_WIDTH]]
