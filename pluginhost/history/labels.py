"""What a run is known by in a history."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from uuid import UUID, uuid4

import msgspec

from pluginhost.history.git import Checkout, checkout_of
from pluginhost.history.records import RunLabel
from pluginhost.report import Environment, Report, encode

OBSERVED, SAVED = "observed", "saved"


def label_of_run(name: str, environment: Environment, started_timestamp_ns: int) -> RunLabel:
    """Return the label of a run that begins in this process, with the revision that is checked out."""
    return _label(
        name,
        environment,
        _here(),
        identity=str(uuid4()),
        origin=OBSERVED,
        started_timestamp_ns=started_timestamp_ns,
    )


def label_of_report(report: Report, checkout: Checkout) -> RunLabel:
    """Return the label of a saved run: its id follows from what it holds, so twice is once.

    What a history has added to the report does not count.
    """
    own = msgspec.structs.replace(report, series=())
    digest = sha256(encode(own).encode("utf-8", "replace")).digest()
    started_ns = report.created_timestamp_ns - report.observed_ns
    return _label(
        report.name,
        report.environment,
        checkout,
        identity=str(UUID(bytes=digest[:16])),
        origin=SAVED,
        started_timestamp_ns=started_ns,
    )


def _here() -> Checkout:
    try:
        return checkout_of(Path.cwd())
    except OSError:  # the folder is gone
        return Checkout()


def _label(
    name: str,
    environment: Environment,
    checkout: Checkout,
    *,
    identity: str,
    origin: str,
    started_timestamp_ns: int,
) -> RunLabel:
    return RunLabel(
        id=identity,
        name=name,
        origin=origin,
        host=environment.hostname,
        pid=environment.pid,
        python=environment.python,
        pluginhost=environment.pluginhost,
        pluggy=environment.pluggy,
        platform=environment.platform,
        started_timestamp_ns=started_timestamp_ns,
        revision=checkout.revision,
        branch=checkout.branch,
    )
