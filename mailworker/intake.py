"""The door: an email becomes a mail here, and a claimed mail an email again.

Law: whatever is refused is refused here, in the producer, with a field and a reason. What passes has its Message-ID,
its Date and its envelope fixed for good, is serialized once, and is sealed before anything else sees it.
"""

import datetime as dt
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any

import msgpack

from mailworker.files import FileGoneError, FilesApart, put_back
from mailworker.keys import new_mail_id
from mailworker.options import Options, RefusedError
from mailworker.record import Claim, NewMail, Untold
from mailworker.sealing import KeyRing, SealError
from smtp_transport.envelope import Envelope, Transaction
from smtp_transport.errors import MessageError
from smtp_transport.message import (
    AnyMessage,
    Email,
    EncodedFiles,
    FileAttachment,
    RawEmail,
    envelope_of,
    make_message_id,
    pack,
    pack_raw,
    render,
    unpack,
    unpack_raw,
)


class UnreadableError(Exception):
    """A claimed mail cannot be opened here. `may_heal`: a key missing here, or a newer version, could open it."""

    def __init__(self, message: str, may_heal: bool) -> None:  # noqa: FBT001 - positional for pickle
        """Keep both in args: pickle builds the error again from them."""
        super().__init__(message, may_heal)
        self.may_heal = may_heal

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused: counts, and the size of the rendered message in bytes.

    `shared_file_bytes`: a file of that size is stored apart from the mail; 0: none is.
    """

    message_bytes: int
    recipients: int
    attachments: int
    shared_file_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Opened:
    """A claimed mail's contents: the whole envelope, and the email."""

    envelope: Envelope
    email: Email | RawEmail

    def transaction_to(self, places: Sequence[int], cache: EncodedFiles | None = None) -> Transaction:
        """Address the mail to the recipients at these places of the envelope."""
        recipients = tuple([self.envelope.recipients[place] for place in places])
        envelope, email = Envelope(self.envelope.sender, recipients), self.email
        if isinstance(email, RawEmail):
            return Transaction(envelope, email.render)
        return Transaction(envelope, lambda eight_bit: render(email, eight_bit=eight_bit, cache=cache))


class Intake:
    """Makes mails of emails. It has no state; one serves a whole process."""

    def __init__(
        self,
        limits: Limits,
        keys: KeyRing,
        max_age_ms: Mapping[str, int],
        shares: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        self._limits = limits
        self._keys = keys
        self._max_age_ms = max_age_ms
        self._shares = shares or {}

    def admit(self, emails: Sequence[AnyMessage | Mapping[str, Any]], options: Sequence[Options]) -> list[NewMail]:
        """Make mails of emails, in their order; messages of the standard library and bytes are emails too.

        Raises RefusedError, or pydantic's ValidationError for a mapping that is no email; then none is made.
        """
        now_ms, randomness = time.time_ns() // 1_000_000, secrets.token_bytes(10)
        apart = FilesApart(self._limits.shared_file_bytes, self._keys)
        mails = []
        for place, (email, option) in enumerate(zip(emails, options, strict=True)):
            mail_id = option.task_id or new_mail_id(option.lane, now_ms, randomness, place)
            mails.append(self._admit(email, option, mail_id, now_ms, apart))
        return mails

    def _admit(
        self, what: AnyMessage | Mapping[str, Any], options: Options, mail_id: str, now_ms: int, apart: FilesApart
    ) -> NewMail:
        try:
            email, envelope = self._stamped(read_email(what), now_ms)
            packed = pack(email) if isinstance(email, Email) else pack_raw(email)
            files = apart.take_out(packed)
            payload = msgpack.packb(packed, use_bin_type=True)
            self._check_size(email, len(payload) + sum(len(file.content) for file in files))
        except MessageError as error:  # what a RawEmail is refused for, and a file that is gone
            raise RefusedError(f"email: {error.message}") from error
        facts = msgpack.packb([envelope.sender, list(envelope.recipients), email.message_id], use_bin_type=True)
        return NewMail(
            id=mail_id,
            payload=self._keys.seal(payload, mail_id, "payload"),
            envelope=self._keys.seal(facts, mail_id, "envelope"),
            recipients=len(envelope.recipients),
            priority=options.priority,
            delay_ms=int((options.countdown or 0) * 1000),
            due_ms=_epoch_ms(options.eta),
            expires_in_ms=int(options.expires * 1000) if isinstance(options.expires, int | float) else None,
            expires_ms=_epoch_ms(options.expires),
            max_age_ms=self._most_age_ms(options),
            key=_digest(options.idempotency_key) if options.idempotency_key else None,
            max_attempts=options.max_attempts,
            in_doubt=options.in_doubt,
            callbacks=self._keys.seal(options.callbacks, mail_id, "callbacks") if options.callbacks else b"",
            files=files,
            tenant=options.tenant or "",
            share=self._shares.get(options.lane, {}).get(options.tenant or "", 1),
        )

    def _stamped(self, email: Email | RawEmail, now_ms: int) -> tuple[Email | RawEmail, Envelope]:
        """Check the counts, and fix Message-ID, Date and envelope."""
        now = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC)
        envelope = envelope_of(email) if isinstance(email, Email) else email.envelope
        self._check_counts(email, len(envelope.recipients))
        message_id = email.message_id or make_message_id(secrets.token_hex(16), _domain_of(email, envelope))
        if isinstance(email, Email):
            return email.stamped(message_id, email.date or now), envelope
        return email.stamped(message_id, now), envelope

    def _check_counts(self, email: Email | RawEmail, recipients: int) -> None:
        limits = self._limits
        if recipients > limits.recipients:
            raise RefusedError(f"to, cc, bcc: {recipients} recipients; limits.recipients allows {limits.recipients}")
        if not isinstance(email, Email):
            return
        attachments = len(email.attachments) + len(email.inline_images)
        if attachments > limits.attachments:
            raise RefusedError(f"attachments: {attachments} files; limits.attachments allows {limits.attachments}")
        # Told before they are read: files on disk may be larger than memory.
        on_disk = sum(file.size for file in email.attachments if isinstance(file, FileAttachment))
        if on_disk > limits.message_bytes:
            raise self._too_large(on_disk)

    def _check_size(self, email: Email | RawEmail, packed: int) -> None:
        """Refuse what is too large. Rendering tells exactly, and is done only where a bound does not settle it."""
        most = self._limits.message_bytes
        # No encoding in use more than triples a text, and headers are bounded by the number of recipients.
        if packed * 3 + 16_384 <= most:
            return
        content = render(email, eight_bit=False) if isinstance(email, Email) else email.render(eight_bit=False)
        if content.size > most:
            raise self._too_large(content.size)

    def _too_large(self, size: int) -> RefusedError:
        return RefusedError(
            f"attachments, text_body, html_body: the message would be {size} bytes long, over the limit of "
            f"{self._limits.message_bytes} (limits.message_bytes)"
        )

    def _most_age_ms(self, options: Options) -> int | None:
        if options.max_age is not None:
            return int(options.max_age * 1000)
        return self._max_age_ms[options.lane] if options.expires is None else None


def _no_files(name: str) -> bytes:
    raise FileGoneError(name)


def open_mail(claim: Claim, keys: KeyRing, read_file: Callable[[str], bytes] = _no_files) -> Opened:
    """Open a claimed mail; `read_file` gives the files that are stored apart, by name. Raises UnreadableError."""
    try:
        sender, recipients, _ = open_envelope(claim.id, claim.envelope, keys)
        if len(recipients) != len(claim.recipients):
            raise UnreadableError("its envelope and its recipients disagree", False)
        envelope = Envelope(sender, recipients)
        packed = msgpack.unpackb(keys.open(claim.payload, claim.id, "payload"))
        put_back(packed, read_file)
        email = unpack_raw(packed, envelope) if "raw" in packed else unpack(packed)
    except FileGoneError:
        raise UnreadableError("a file of it is gone", False) from None
    except SealError as error:
        raise UnreadableError(str(error), error.is_key_missing) from None
    except MessageError:
        raise UnreadableError("written by a newer version of mailworker", True) from None
    except (TypeError, ValueError, LookupError, AttributeError, msgpack.UnpackException) as error:
        raise UnreadableError(f"corrupt payload ({type(error).__name__})", False) from None
    return Opened(envelope, email)


def open_envelope(mail_id: str, blob: bytes, keys: KeyRing) -> tuple[str, tuple[str, ...], str]:
    """Read sender, recipients and Message-ID of a mail, also of one whose payload is gone. Raises SealError."""
    opened = keys.open(blob, mail_id, "envelope")
    try:
        sender, recipients, message_id = msgpack.unpackb(opened)
        if isinstance(sender, str) and isinstance(message_id, str) and all(isinstance(r, str) for r in recipients):
            return sender, tuple(recipients), message_id
    except (TypeError, ValueError, msgpack.UnpackException):
        pass
    raise SealError("not an envelope")


def open_callbacks(mail: Untold, keys: KeyRing) -> bytes:
    """Read whom to tell of a mail's end. Raises SealError."""
    return keys.open(mail.callbacks, mail.id, "callbacks")


def read_email(what: AnyMessage | Mapping[str, Any]) -> Email | RawEmail:
    """Read what callers hand over. Raises RefusedError, or ValidationError for a mapping that is no email."""
    if isinstance(what, Email | RawEmail):
        return what
    if isinstance(what, bytes | Message):
        return RawEmail.of(what)
    if not isinstance(what, Mapping):
        raise RefusedError(
            "email: must be an Email or a dict of its fields, a message of the standard library or its bytes, "
            f"not {type(what).__name__}"
        )
    return Email.from_dict(what)


def _digest(key: str) -> str:
    """An idempotency key may say something about a person; the ledger sees its hash."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _domain_of(email: Email | RawEmail, envelope: Envelope) -> str:
    """Name the sender's domain, or else the author's; a message from nobody gets a name that stands for no host."""
    domain = envelope.sender.rpartition("@")[2]
    if not domain and isinstance(email, Email):
        domain = email.from_.domain
    return domain or "message-id.invalid"


def _epoch_ms(moment: object) -> int | None:
    """A moment long past, as an eta, means at once."""
    return max(0, int(moment.timestamp() * 1000)) if isinstance(moment, dt.datetime) else None
