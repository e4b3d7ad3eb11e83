"""`mailworker relay`: examine relays, and open, close, hold or pin them, for all workers at once."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from mailworker.cli.output import FAILED, moment, print_json, print_pairs, print_table

if TYPE_CHECKING:
    from mailworker.checkup import Finding
    from mailworker.steering import RelayReport, Steering


@click.group("relay")
def command() -> None:
    """Check a relay, and open, close, hold or pin it, for all workers at once."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(as_json: bool) -> None:  # noqa: FBT001 - click's option
    """List the relays: whether they work, how fast they are sent to, how many connections are held."""
    relays = _steering().relays()
    if as_json:
        print_json({relay.name: dataclasses.asdict(relay) for relay in relays})
    else:
        print_relays(relays)
    fail_if_unreadable(relays)


@command.command("show")
@click.argument("name", default="default")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(name: str, as_json: bool) -> None:  # noqa: FBT001 - click's option
    """Show one relay as all workers see it."""
    relay = _steering().relay(name)
    if as_json:
        print_json(dataclasses.asdict(relay))
    else:
        print_pairs(list(_pairs(relay)))
    fail_if_unreadable([relay])


@command.command("check")
@click.argument("name", default="default")
@click.option("--to", "recipient", metavar="ADDRESS", help="Also send one test mail there.")
@click.option("--from", "sender", metavar="ADDRESS", help="Who sends it; by default the user name.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(name: str, recipient: str | None, sender: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's option
    """Connect, log in, and tell what the relay offers, what will be used, and what is wrong.

    No mail is sent without --to. Exit status 1: the relay cannot be used as it is set up.
    """
    from mailworker.celery import app  # noqa: PLC0415 - help must be quick
    from mailworker.checkup import examine, explained, send_test  # noqa: PLC0415 - the same
    from mailworker.doorway import shared_config  # noqa: PLC0415 - the same
    from mailworker.steering import Steering  # noqa: PLC0415 - the same
    from smtp_transport.errors import SmtpError  # noqa: PLC0415 - the same

    relay = Steering(app.runtime).configured(name)
    runtime = app.runtime
    config = shared_config(name, runtime.settings, runtime.redis, runtime.keys)
    sender = sender or (relay.username if relay.username and "@" in relay.username else None)
    if recipient and not sender:
        raise click.UsageError("--from: who sends the test mail? The user name is no address")
    finding = examine(config, relay.provider, runtime.settings.limits.message_bytes)
    if recipient and sender and finding.is_well:
        try:
            finding = dataclasses.replace(finding, sent=send_test(config, sender, recipient))
        except SmtpError as error:
            finding = dataclasses.replace(finding, problem=f"the test mail was refused: {explained(error, config)}")
    shared = _shared(name)
    if as_json:
        print_json({"relay": name, "well": finding.is_well} | dataclasses.asdict(finding) | {"shared": shared})
    else:
        _print_finding(name, finding, shared)
    if not finding.is_well:
        raise click.exceptions.Exit(FAILED)


@command.command("open")
@click.argument("name")
@click.option("--reason", default="by hand", show_default=True, help="Why; shown wherever the relay is.")
def open_(name: str, reason: str) -> None:
    """Leave a relay alone for its recovery time; then single mails try it."""
    _switch(name, "open", reason)


@command.command("hold")
@click.argument("name")
@click.option("--reason", default="by hand", show_default=True, help="Why; shown wherever the relay is.")
def hold(name: str, reason: str) -> None:
    """Leave a relay alone until it is closed by hand."""
    _switch(name, "held", reason)


@command.command("close")
@click.argument("name")
def close(name: str) -> None:
    """Use a relay again: its lanes go on at once."""
    _switch(name, "closed", "by hand")


@command.command("pin")
@click.argument("name")
@click.argument("rate", type=click.FloatRange(0.001, 1_000_000), metavar="MAILS_A_SECOND")
def pin(name: str, rate: float) -> None:
    """Keep a relay at this rate, whatever it says, within its limits."""
    steering = _steering()
    steering.pin(name, rate)
    click.echo(f"relay {name} is sent {rate:g} mails a second")
    bound = steering.bound(name)
    if bound is not None and rate > bound[1]:
        click.echo(f"warning: no more than its limits allow, and {bound[0]} is {bound[1]:g} mails a second", err=True)


@command.command("unpin")
@click.argument("name")
def unpin(name: str) -> None:
    """Forget a pinned rate and what the relay has taught, and let it teach anew."""
    _steering().pin(name, None)
    click.echo(f"relay {name} is sent as much as its limits allow, until it complains")


def print_relays(relays: "list[RelayReport]") -> None:
    """Print a table of relays."""
    head = ("relay", "state", "rate", "connections", "lanes", "note")
    print_table(
        head,
        [
            (
                relay.name,
                relay.state,
                _rate(relay),
                f"{relay.connections}/{relay.most_connections or '-'}",
                ",".join(relay.lanes) or "-",
                "; ".join(_notes(relay)),
            )
            for relay in relays
        ],
    )


def fail_if_unreadable(relays: "list[RelayReport]") -> None:
    """End with exit status 1 where what workers share of a relay makes no sense."""
    from mailworker.steering import UNREADABLE  # noqa: PLC0415 - help must be quick

    if any(relay.state == UNREADABLE for relay in relays):
        raise click.exceptions.Exit(FAILED)


def _steering() -> "Steering":
    from mailworker.celery import app  # noqa: PLC0415 - help must be quick
    from mailworker.steering import Steering  # noqa: PLC0415 - the same

    return Steering(app.runtime)


def _switch(name: str, state: str, reason: str) -> None:
    from mailworker.fleet import BreakerState  # noqa: PLC0415 - help must be quick

    before = _steering().switch(name, BreakerState(state), reason)
    click.echo(f"relay {name}: {before} -> {state}")


def _rate(relay: "RelayReport") -> str:
    if relay.rate is None:
        return "-"
    return f"{relay.rate:g}/s {'pinned' if relay.is_pinned else 'learnt'}"


def _notes(relay: "RelayReport") -> Iterator[str]:
    if relay.reason:
        yield relay.reason
    if relay.retry_ms:
        yield f"tried in {relay.retry_ms / 1000:.0f} s"
    if relay.hold_ms:
        yield f"asked to be left alone for {relay.hold_ms / 1000:.0f} s"


def _pairs(relay: "RelayReport") -> Iterator[tuple[str, object]]:
    yield from (("relay", relay.name), ("place", relay.place or "-"), ("preset", relay.preset or "-"))
    yield from (("lanes", ", ".join(relay.lanes) or "-"), ("state", relay.state))
    if relay.since_ms:
        yield "since", moment(relay.since_ms)
    yield from (("opened", relay.opened), ("limits", ", ".join(relay.limits) or "-"), ("rate", _rate(relay)))
    most = relay.most_connections or "as many as it stands"
    yield "connections", f"{relay.connections} of {most}, by {relay.processes} processes"
    yield from (("note", note) for note in _notes(relay))


def _shared(name: str) -> dict[str, Any]:
    """Tell what workers know of the relay; that the ledger does not answer is no fault of the relay."""
    from mailworker.ledger import LedgerError  # noqa: PLC0415 - help must be quick

    try:
        return dataclasses.asdict(_steering().relay(name))
    except LedgerError as error:
        return {"unknown": str(error)}


def _print_finding(name: str, finding: "Finding", shared: dict[str, Any]) -> None:
    rows: list[tuple[str, object]] = [("relay", name), ("place", f"{finding.place}, tls {finding.tls}")]
    if finding.banner:
        rows += [("greeting", finding.banner), ("TLS", finding.tls_version or "none")]
    if finding.certificate_until and finding.certificate_from:
        dates = f"{finding.certificate_from:%Y-%m-%d} to {finding.certificate_until:%Y-%m-%d}"
        rows.append(("certificate", f"{', '.join(finding.certificate_names[:5])}; {dates}"))
        rows.append(("issued by", finding.certificate_issuer))
    if finding.banner:
        rows += [("offers", ", ".join(finding.offers) or "nothing"), ("mode", finding.mode)]
    if finding.mechanism:
        rows.append(("login", f"{finding.login or 'ok'}, by {finding.mechanism}"))
    rows += [(f"tried {mechanism}", outcome) for mechanism, outcome in finding.mechanisms_tried]
    rows += [("shared", shared["unknown"])] if "unknown" in shared else list(_shared_rows(shared))
    if finding.sent is not None:
        rows.append(("test mail", finding.sent))
    rows += [("note", remark) for remark in finding.remarks]
    rows.append(("result", "ready to send" if finding.is_well else finding.problem))
    rows += [("advice", advice) for advice in finding.advice]
    print_pairs(rows)


def _shared_rows(shared: dict[str, Any]) -> Iterator[tuple[str, object]]:
    from mailworker.steering import RelayReport  # noqa: PLC0415 - help must be quick

    relay = RelayReport(**shared)
    yield "limits", ", ".join(relay.limits) or "none of ours"
    yield "rate", _rate(relay)
    yield "connections", f"{relay.connections} of {relay.most_connections or 'as many as it stands'}"
    yield "breaker", "; ".join([relay.state, *_notes(relay)])
