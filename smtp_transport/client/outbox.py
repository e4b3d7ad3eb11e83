"""What a caller wants sent, made ready: named, dated, addressed and, with a signer, signed.

Law: Date, Message-ID and the time of a signature come from here, and are the same at every attempt.
"""

import secrets
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from smtp_transport.client.interceptors import Hooks
from smtp_transport.dkim import Signer
from smtp_transport.envelope import Content, Transaction
from smtp_transport.errors import ErrorKind, MessageError, SmtpError
from smtp_transport.message import AnyMessage, Email, EncodedFiles, RawEmail, make_message_id, transaction_of
from smtp_transport.options import DeliveryOptions

_CACHE_BYTES: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class Ready:
    """A mail that can be sent. What a message of another program holds is not looked into for attachments."""

    email: Email | RawEmail
    message_id: str
    transaction: Transaction
    has_attachments: bool


class Outbox:
    """Makes mails ready; one for each client. `signer`: see `DkimSigner`."""

    def __init__(self, hooks: Hooks, signer: Signer | None = None) -> None:
        if signer is not None and (isinstance(signer, type) or not callable(getattr(signer, "sign", None))):
            raise TypeError("signer: give an object with a method `sign`, such as a DkimSigner")
        self._hooks = hooks
        self._signer = signer
        self._encoded = EncodedFiles(_CACHE_BYTES)

    def ready(self, message: AnyMessage, options: DeliveryOptions | None = None) -> Ready | SmtpError:
        """Make one mail ready, or say why it cannot be: what is wrong with it must not stop others."""
        try:
            email = self._hooks.admit(message if isinstance(message, Email | RawEmail) else RawEmail.of(message))
        except SmtpError as refusal:
            return refusal
        try:
            stamped = _stamped(email)
            transaction = self._signed(transaction_of(stamped, cache=self._encoded))
        except (ValueError, AttributeError, TypeError) as error:
            # No Email that was checked is like this one; its error may repeat what it holds.
            told = f"the email was made or changed behind its checks: {type(error).__name__}"
            return MessageError(told, ErrorKind.ENCODING_FAILED)
        if options is not None:
            transaction = replace(transaction, options=options)
        return Ready(
            stamped, stamped.message_id or "", transaction, isinstance(email, Email) and bool(email.attachments)
        )

    def _signed(self, transaction: Transaction) -> Transaction:
        if self._signer is None:
            return transaction
        signer, timestamp = self._signer, int(time.time())

        def rendered(eight_bit: bool) -> Content:  # noqa: FBT001 - the signature of `Transaction.render`
            return signer.sign(transaction.render(eight_bit), timestamp)

        return replace(transaction, render=rendered)


def _stamped(email: Email | RawEmail) -> Email | RawEmail:
    author = email.from_.domain if isinstance(email, Email) else _domain(email)
    message_id = email.message_id or make_message_id(secrets.token_hex(16), author)
    return email.stamped(message_id, datetime.now(UTC))


def _domain(message: RawEmail) -> str:
    """Name the sender's domain; a mail from nobody gets the name that stands for no host (RFC 6761 section 6.4)."""
    domain = message.envelope.sender.rpartition("@")[2]
    return domain or "message-id.invalid"
