"""A mail's wishes as ESMTP parameters, for a server with these capabilities.

Law: what the server lacks is never left out silently: the mail that asked for it does not go there.
"""

from datetime import UTC, datetime
from typing import Final

from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.options import DeliverBy, DeliveryOptions
from smtp_transport.phase import Phase
from smtp_transport.protocol import grammar
from smtp_transport.protocol.capabilities import Capabilities
from smtp_transport.protocol.commands import Parameters

_LONGEST_ORIGINAL: Final = 500
"""Characters of ORCPT's value (RFC 3461 section 4.2)."""


def of_mail(options: DeliveryOptions, capabilities: Capabilities, *, under_tls: bool) -> Parameters:
    """Give the parameters of MAIL. Raises `MessageError` (capability_mismatch) for what this server cannot grant."""
    _demand(options, capabilities, under_tls=under_tls)
    found: list[tuple[str, str | None]] = []
    if options.ret is not None:
        found.append(("RET", options.ret.value))
    if options.envelope_id is not None:
        found.append(("ENVID", grammar.xtext(options.envelope_id)))
    if options.require_tls:
        found.append(("REQUIRETLS", None))
    if options.deliver_by is not None:
        found.append(("BY", _deadline(options.deliver_by)))
    if options.priority is not None:
        found.append(("MT-PRIORITY", str(options.priority)))
    if options.tracking is not None:
        timeout = "" if options.tracking.timeout is None else f":{options.tracking.timeout}"
        found.append(("MTRK", f"{options.tracking.certifier}{timeout}"))
    if options.hold_for is not None:
        found.append(("HOLDFOR", str(options.hold_for)))
    if options.hold_until is not None:
        found.append(("HOLDUNTIL", _moment(options.hold_until)))
    return tuple(found)


def of_recipient(options: DeliveryOptions, position: int) -> Parameters:
    """Give the parameters of the RCPT at this position of the envelope."""
    found: list[tuple[str, str | None]] = []
    if options.notify:
        found.append(("NOTIFY", ",".join(sorted(wish.value for wish in options.notify))))
    if position < len(options.original_recipients) and options.original_recipients[position]:
        original = grammar.address_xtext(options.original_recipients[position])
        if len(original) > _LONGEST_ORIGINAL:
            told = f"an original recipient has more than {_LONGEST_ORIGINAL} characters when it is written down"
            raise MessageError(told, ErrorKind.INVALID_RECIPIENT_ADDRESS, phase=Phase.MAIL)
        found.append(("ORCPT", original))
    return tuple(found)


def _demand(options: DeliveryOptions, capabilities: Capabilities, *, under_tls: bool) -> None:
    by, hold = options.deliver_by, options.hold_for
    needs = (
        (options.needs_dsn, "DSN", capabilities.dsn),
        (options.binary, "BINARYMIME with CHUNKING", capabilities.binary_mime),
        # RFC 8689 section 4.2.1: not in clear text, nor to a server whose certificate was not checked.
        (
            options.require_tls,
            "REQUIRETLS under proven TLS",
            capabilities.require_tls and under_tls,
        ),
        (by is not None, "DELIVERBY", capabilities.deliver_by),
        (options.priority is not None, "MT-PRIORITY", capabilities.mt_priority),
        (options.tracking is not None, "MTRK", capabilities.mtrk),
        (hold is not None or options.hold_until is not None, "FUTURERELEASE", capabilities.future_release),
    )
    for needed, what, offered in needs:
        if needed and not offered:
            raise _missing(f"the mail needs {what}, which the server does not offer")
    least = capabilities.least_deliver_by
    if by is not None and not by.notify_only and least is not None and by.seconds < least:
        raise _missing(f"the mail is to be delivered in {by.seconds} s, and the server promises no less than {least} s")
    longest, latest = capabilities.longest_hold, capabilities.latest_release
    if hold is not None and longest is not None and hold > longest:
        raise _missing(f"the mail is to be held for {hold} s, and the server holds no longer than {longest} s")
    if options.hold_until is not None and latest is not None and options.hold_until > latest:
        raise _missing("the mail is to be held for longer than the server does")


def _missing(what: str) -> MessageError:
    return MessageError(what, ErrorKind.CAPABILITY_MISMATCH, phase=Phase.MAIL)


def _deadline(by: DeliverBy) -> str:
    return f"{by.seconds};{'N' if by.notify_only else 'R'}{'T' if by.trace else ''}"


def _moment(when: datetime) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
