"""From anything that is a mail to what the wire takes."""

from collections.abc import Iterable
from email.message import Message
from typing import TYPE_CHECKING, Any, TypeAlias

from smtp_transport.envelope import Content, Envelope, Transaction
from smtp_transport.message.address import Address
from smtp_transport.message.cache import EncodedFiles
from smtp_transport.message.email import Email, envelope_of
from smtp_transport.message.raw import RawEmail, forward_paths, reverse_path
from smtp_transport.message.render import render

if TYPE_CHECKING:  # the class is generic for the type checker only
    StdlibMessage: TypeAlias = Message[Any, Any]
else:
    StdlibMessage = Message
AnyMessage: TypeAlias = Email | RawEmail | StdlibMessage | bytes
"""Whatever can be sent: a message of the standard library and bytes are read by `RawEmail.of`."""


def transaction_of(
    message: AnyMessage,
    sender: Address | str | None = None,
    recipients: Iterable[Address | str] | Address | str | None = None,
    cache: EncodedFiles | None = None,
) -> Transaction:
    """Address a message: to `recipients` from `sender` ("" for nobody) if they are given, or else as it says itself.

    An Email must be stamped; other messages may be of the standard library or bytes, see `RawEmail`. Raises
    MessageError for what is no message or no envelope, pydantic.ValidationError for a wrong address.
    """
    if not isinstance(message, Email):
        given = recipients if recipients is None else forward_paths(recipients)
        raw = message if isinstance(message, RawEmail) else RawEmail.of(message, sender, given)
        return Transaction(_addressed(raw.envelope, sender, given), raw.render)

    def rendered(eight_bit: bool) -> Content:  # noqa: FBT001 - the signature of `Transaction.render`
        return render(message, eight_bit=eight_bit, cache=cache)

    return Transaction(_addressed(envelope_of(message), sender, recipients), rendered)


def _addressed(
    envelope: Envelope, sender: Address | str | None, recipients: Iterable[Address | str] | Address | str | None
) -> Envelope:
    return Envelope(
        envelope.sender if sender is None else reverse_path(sender),
        envelope.recipients if recipients is None else forward_paths(recipients),
    )
