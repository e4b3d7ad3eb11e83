"""One mail on its way: what is to be said, what became of each recipient, and the step from content to commitment."""

import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from smtp_transport.connection.conversation import Conversation
from smtp_transport.connection.trouble import shutdown
from smtp_transport.envelope import StreamedContent, Transaction
from smtp_transport.errors import CancelledError, ErrorKind, MessageError, SmtpError
from smtp_transport.phase import Phase
from smtp_transport.protocol.capabilities import Capabilities
from smtp_transport.protocol.commands import BodyType, EndOfContent, Mail, Rcpt
from smtp_transport.protocol.content import canonical, checked, dot_stuffed, dot_stuffed_chunks
from smtp_transport.receipt import Receipt, RecipientReceipt
from smtp_transport.reply import Reply

Permit = Callable[[Sequence[int]], Collection[int]]
"""Asked just before final dots are written, with the positions of the mails: answers which of them may be committed."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A mail in the words of the wire: `content` is canonical and dot-stuffed, without the final dot.

    What is made while it is sent comes as it is, and goes through `pieces` to the wire.
    """

    mail: Mail
    recipients: tuple[Rcpt, ...]
    content: bytes | StreamedContent

    def pieces(self) -> Iterable[bytes]:
        """Give the content as DATA wants it. Raises `MessageError` in phase BODY if it cannot be made to its end."""
        if isinstance(self.content, StreamedContent):
            return dot_stuffed_chunks(made(self.content))
        return (self.content,)


def prepare(transaction: Transaction, capabilities: Capabilities, max_size: int | None) -> Outgoing:
    """Translate a transaction for a server with these capabilities; `max_size` in octets bounds it besides.

    Raises `MessageError` if this mail cannot be sent to this server. Nothing has been written then.
    """
    envelope = transaction.envelope
    if not envelope.recipients:
        raise _unfit("the mail has no recipient", ErrorKind.INVALID_RECIPIENT_ADDRESS)
    content = transaction.render(capabilities.eight_bit_mime)
    smtputf8 = envelope.needs_smtputf8 or content.utf8_headers
    if smtputf8 and not capabilities.smtputf8:
        raise _unfit("the mail needs SMTPUTF8, which the server does not offer", ErrorKind.CAPABILITY_MISMATCH)
    if content.eight_bit and not capabilities.eight_bit_mime:
        raise _unfit("the mail needs 8BITMIME, which the server does not offer", ErrorKind.CAPABILITY_MISMATCH)
    streamed = isinstance(content, StreamedContent)
    data = b"" if streamed else canonical(content.data)
    size = content.size if streamed else len(data)
    limit = min((limit for limit in (capabilities.max_size, max_size) if limit is not None), default=size)
    if size > limit:
        raise _unfit(f"the mail has {size} octets, {limit} are allowed", ErrorKind.MESSAGE_TOO_LARGE)
    mail = Mail(
        envelope.sender,
        size=size if capabilities.size else None,
        body=BodyType.EIGHT_BIT if content.eight_bit else None,
        smtputf8=smtputf8,
    )
    recipients = tuple(Rcpt(r, smtputf8) for r in envelope.recipients)
    return Outgoing(mail, recipients, content if isinstance(content, StreamedContent) else dot_stuffed(data))


def made(content: StreamedContent) -> Iterator[bytes]:
    """Make content while it is sent, canonical and of the announced size. Raises `MessageError` in phase BODY."""
    try:
        yield from checked(content.chunks(), content.size)
    except MessageError as error:
        raise MessageError(error.message, error.kind, phase=Phase.BODY) from error.__cause__
    except Exception as error:  # noqa: BLE001 - foreign code, as `render` is; its text may hold parts of the mail
        place = traceback.extract_tb(error.__traceback__)[-1]
        told = f"the content could not be made: {type(error).__name__} in {place.name}, line {place.lineno}"
        raise MessageError(told, ErrorKind.ENCODING_FAILED, phase=Phase.BODY) from None


def _unfit(what: str, kind: ErrorKind) -> MessageError:
    return MessageError(what, kind, phase=Phase.MAIL)


class Fates:
    """What is known so far of each recipient. A fate is noted once and stays."""

    def __init__(self, recipients: Sequence[str]) -> None:
        self._recipients = recipients
        self._known: list[RecipientReceipt | None] = [None] * len(recipients)

    @property
    def pending(self) -> list[int]:
        """Positions of the recipients that may still get the mail."""
        return [position for position, fate in enumerate(self._known) if fate is None]

    def settle(self, phase: Phase, reply: Reply, position: int | None = None) -> None:
        """Note the reply that decides about one recipient, or about all that are pending.

        Raises `ProtocolError` if the server leaves with it: nothing more can be said.
        """
        for undecided in self.pending:
            if position in {None, undecided}:
                self._known[undecided] = RecipientReceipt(self._recipients[undecided], phase, reply)
        if reply.code == 421:
            raise shutdown(reply, phase)

    def forget(self) -> None:
        """Take back all that was noted: the replies belonged to something else."""
        self._known = [None] * len(self._recipients)

    def receipt(self, error: SmtpError | None, duration: float) -> Receipt:
        """Sum up. Those who are pending fell with the error, in its phase."""
        phase = (error.phase if error else None) or Phase.MAIL
        recipients = (
            fate or RecipientReceipt(address, phase)
            for address, fate in zip(self._recipients, self._known, strict=True)
        )
        return Receipt(tuple(recipients), error, duration)


def send_content(talk: Conversation, outgoing: Outgoing, fates: Fates, may_commit: Callable[[], bool]) -> None:
    """Write the content, and the final dot if it may be; the server has said 354.

    Raises `SmtpError` when the link can't go on. Up to the dot nothing is sent as far as the server is concerned.
    """
    gave_up = talk.pour(outgoing.pieces())
    if gave_up is not None:
        fates.settle(Phase.BODY, gave_up)
        return
    if not may_commit():
        # There is no way back from 354 but to leave: every line is content until the dot.
        raise CancelledError("the mail was not permitted to be committed", phase=Phase.BODY)
    if talk.overhear(Phase.BODY):
        # What was said before the dot is no reply to it.
        fates.settle(Phase.BODY, talk.hear())
        return
    fates.settle(Phase.DOT, talk.ask(EndOfContent()))
