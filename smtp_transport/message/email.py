"""What an author hands over: the email, checked when it is made.

Law: an Email that exists can be rendered and sent. Message-ID and Date are given, never taken from a clock or from
chance. No repr and no error shows an address, a subject or a body.
"""

import base64
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from email.message import Message
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Required, Self, TypedDict, Unpack

from pydantic import (
    AfterValidator,
    AliasChoices,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictStr,
    model_validator,
)
from pydantic_core import PydanticCustomError

from smtp_transport.envelope import Envelope
from smtp_transport.fields import Silent
from smtp_transport.message import headers, rules
from smtp_transport.message.address import Address, Mailbox, Mailboxes
from smtp_transport.message.attachment import Attachment, InlineImage
from smtp_transport.message.calendar import Calendar
from smtp_transport.message.unsubscribe import Unsubscribe

MAX_RECIPIENTS = 100
MAX_ATTACHMENTS = 50
"""Files and inline images together."""


class Priority(IntEnum):
    """How urgent the author finds the email; written as X-Priority and Importance."""

    HIGHEST = 1
    HIGH = 2
    NORMAL = 3
    LOW = 4
    LOWEST = 5


class AutoSubmitted(StrEnum):
    """Who sends, a person or a program (RFC 3834 section 5, RFC 5436 section 2.7.1): robots do not answer a program."""

    NO = "no"
    GENERATED = "auto-generated"
    REPLIED = "auto-replied"
    NOTIFIED = "auto-notified"


def _canonical_date(value: datetime) -> datetime:
    """Give the moment a fixed offset in whole minutes, the only zone that a Date header has."""
    if value.year < 1900:
        raise PydanticCustomError("date", "is before the year 1900, where RFC 5322 section 3.3 begins")
    offset = value.utcoffset() or timedelta()
    if offset % timedelta(minutes=1):
        try:
            return value.astimezone(UTC)
        except OverflowError:
            raise PydanticCustomError("date", "is out of range; give it in UTC") from None
    return value.replace(tzinfo=timezone(offset))


def _one_or_many_ids(value: Any) -> Any:
    """Let the text of a References header stand for the list of its ids."""
    return rules.line(value).split() if isinstance(value, str) else value


def _reverse_path(value: Any) -> Any:
    """Take an Address too; "" is the null reverse-path (RFC 5321 section 4.5.5)."""
    return value.email if isinstance(value, Address) else value


def _checked_reverse_path(value: str) -> str:
    return value and Address(value).email


def _pairs(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, Mapping) else value


def _one_or_many_parts(value: Any) -> Any:
    return (value,) if isinstance(value, (Attachment, InlineImage, Mapping)) else value


Body = Annotated[StrictStr, AfterValidator(rules.body)]
Header = Annotated[tuple[StrictStr, StrictStr], AfterValidator(headers.checked)]
ReversePath = Annotated[StrictStr, BeforeValidator(_reverse_path), AfterValidator(_checked_reverse_path)]
MessageId = Annotated[StrictStr, AfterValidator(rules.message_id)]
ForeignId = Annotated[StrictStr, AfterValidator(rules.foreign_id)]
Moment = Annotated[AwareDatetime, AfterValidator(_canonical_date)]


if TYPE_CHECKING:
    # What the validators take is wider than what the fields hold; a caller's type checker hears it from here.
    AnyAddress = Address | str | Mapping[str, str | None]
    AnyAddresses = AnyAddress | Iterable[AnyAddress]

    class EmailFields(TypedDict, total=False):
        """What `Email` may be given."""

        from_: Required[AnyAddress]
        sender: AnyAddress | None
        envelope_sender: Address | str | None
        to: AnyAddresses
        cc: AnyAddresses
        bcc: AnyAddresses
        reply_to: AnyAddresses
        subject: str
        text_body: str | None
        html_body: str | None
        text: str | None
        html: str | None
        attachments: Attachment | Iterable[Attachment]
        inline_images: InlineImage | Iterable[InlineImage]
        calendar: Calendar | None
        headers: Mapping[str, str] | Iterable[tuple[str, str]]
        message_id: str | None
        in_reply_to: str | None
        references: str | Iterable[str]
        priority: Priority | int | None
        unsubscribe: Unsubscribe | None
        auto_submitted: AutoSubmitted | str | None
        date: datetime | None


class Email(Silent, BaseModel):
    """One email. One address may stand where several are possible; addresses may be text: "Name <local-part@domain>".

    Raises pydantic.ValidationError, whose text names each wrong field, the reason and the cure.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    from_: Mailbox = Field(validation_alias=AliasChoices("from_", "from"))
    sender: Mailbox | None = None
    """Who sends on behalf of `from_`: the reverse-path, and a Sender header if it differs (RFC 5322 section 3.6.2)."""
    envelope_sender: ReversePath | None = None
    """Where bounces go, in no header: an address for each mail (VERP), or "" for none, so that nobody answers a notice
    of failure with another. By default the sender's or else the author's address."""
    to: Mailboxes = ()
    cc: Mailboxes = ()
    bcc: Mailboxes = ()
    """In the envelope only, never in a header."""
    reply_to: Mailboxes = ()
    subject: Annotated[StrictStr, AfterValidator(rules.line)] = ""
    text_body: Body | None = Field(default=None, validation_alias=AliasChoices("text_body", "text"))
    html_body: Body | None = Field(default=None, validation_alias=AliasChoices("html_body", "html"))
    attachments: Annotated[tuple[Attachment, ...], BeforeValidator(_one_or_many_parts)] = ()
    inline_images: Annotated[tuple[InlineImage, ...], BeforeValidator(_one_or_many_parts)] = ()
    calendar: Calendar | None = None
    """An invitation, beside the bodies."""
    headers: Annotated[tuple[Header, ...], BeforeValidator(_pairs)] = ()
    """Further headers, in this order. A mapping is read too."""
    message_id: MessageId | None = None
    in_reply_to: ForeignId | None = None
    references: Annotated[tuple[ForeignId, ...], BeforeValidator(_one_or_many_ids)] = ()
    priority: Priority | None = None
    unsubscribe: Unsubscribe | None = None
    auto_submitted: AutoSubmitted | None = None
    date: Moment | None = None

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[EmailFields]) -> None:
            """Check the fields. Raises pydantic.ValidationError."""

    @model_validator(mode="after")
    def _check_recipients(self) -> Self:
        listed = len(self.to) + len(self.cc) + len(self.bcc)
        if not listed:
            raise PydanticCustomError("no_recipient", "to, cc, bcc: all are empty; name at least one recipient")
        if listed > MAX_RECIPIENTS:
            raise PydanticCustomError(
                "too_many_recipients",
                "to, cc, bcc: {listed} recipients, and {most} is the most; send several emails",
                {"listed": listed, "most": MAX_RECIPIENTS},
            )
        return self

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        parts = len(self.attachments) + len(self.inline_images)
        if parts > MAX_ATTACHMENTS:
            raise PydanticCustomError(
                "too_many_attachments",
                "attachments, inline_images: {parts} files, and {most} is the most; put them into an archive",
                {"parts": parts, "most": MAX_ATTACHMENTS},
            )
        if self.inline_images and self.html_body is None:
            raise PydanticCustomError(
                "inline_without_html", "inline_images: only html_body can show them; use attachments or add html_body"
            )
        content_ids = [i.content_id for i in self.inline_images] + [
            a.content_id for a in self.attachments if a.content_id
        ]
        if len(set(content_ids)) < len(content_ids):
            raise PydanticCustomError("content_id_twice", "inline_images, attachments: a content_id is used twice")
        return self

    @model_validator(mode="after")
    def _check_headers(self) -> Self:
        """A header of one's own must not be there a second time from a field."""
        if self.headers:
            own = {name.lower() for name, _ in self.headers}
            for field, (names, written) in _WRITTEN_FROM.items():
                if getattr(self, field) is not None and not own.isdisjoint(names):
                    raise PydanticCustomError(
                        f"{field}_twice",
                        "headers: {written} written from {field}; leave out one of the two",
                        {"written": written, "field": field},
                    )
        return self

    @property
    def recipients(self) -> tuple[str, ...]:
        """The forward-paths in the order of To, Cc, Bcc, each once. Domains are compared without regard to case."""
        unique: dict[tuple[str, str], str] = {}
        for address in (*self.to, *self.cc, *self.bcc):
            local, _, domain = address.email.rpartition("@")
            unique.setdefault((local, domain.lower()), address.email)
        return tuple(unique.values())

    def replying_to(self, parent: "Email | Message[Any, Any]") -> Self:
        """Return the email as an answer to another: In-Reply-To and References of RFC 5322 section 3.6.4.

        `parent` is a stamped Email, or a message that was received. Of a long thread the first id and the newest are
        kept. Raises ValueError if the parent has no Message-ID.
        """
        if isinstance(parent, Email):
            parent_id, before = parent.message_id, parent.references or (parent.in_reply_to,)
        else:
            parent_id = " ".join(rules.foreign_ids(str(parent.get("Message-ID", ""))))
            answered = rules.foreign_ids(str(parent.get("In-Reply-To", "")))
            before = rules.foreign_ids(str(parent.get("References", ""))) or (answered if len(answered) == 1 else ())
        if not parent_id:
            raise ValueError("the mail to be answered has no Message-ID")
        thread = [one for one in before if one and one != parent_id]
        references = (*thread[:1], *thread[1:][-_LONGEST_THREAD:], parent_id)
        return self.model_copy(update={"in_reply_to": parent_id, "references": references})

    def stamped(self, message_id: str, date: datetime) -> Self:
        """Return the email with Message-ID and Date fixed; what the author has set stays.

        `date` is aware. Raises pydantic.ValidationError if a stamp is no good.
        """
        stamp = _Stamp(message_id=self.message_id or message_id, date=self.date or date)
        return super().model_copy(update=dict(stamp))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some fields changed; unlike pydantic's own, it checks them. Raises ValidationError."""
        return type(self).model_validate(vars(self) | dict(update)) if update else super().model_copy(deep=deep)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can carry, attachments in base64; empty fields are left out."""
        plain: dict[str, Any] = self.model_dump(
            mode="json", exclude_defaults=True, exclude={"attachments", "inline_images"}
        )
        plain["from"] = plain.pop("from_")
        if self.attachments:
            plain["attachments"] = [
                {
                    "filename": a.filename,
                    "content_type": a.content_type,
                    "data": base64.b64encode(a.data).decode(),
                    "content_id": a.content_id,
                }
                for a in self.attachments
            ]
        if self.inline_images:
            plain["inline_images"] = [
                {"content_id": i.content_id, "content_type": i.content_type, "data": base64.b64encode(i.data).decode()}
                for i in self.inline_images
            ]
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `to_dict` made, or what another application wrote by hand. Raises pydantic.ValidationError."""
        return cls.model_validate(dict(plain))

    def __setattr__(self, name: str, value: Any) -> None:
        # pydantic's own refusal would show the value.
        raise rules.refused("Email", PydanticCustomError("frozen_instance", "is frozen; make another with model_copy"))

    def __repr__(self) -> str:
        recipients, files = len(self.recipients), len(self.attachments) + len(self.inline_images)
        text = f"<Email to {recipients} recipient{'s' * (recipients != 1)}"
        return text + (f", {files} attachment{'s' * (files != 1)}>" if files else ">")

    __str__ = __repr__

    def __repr_args__(self) -> Any:
        """Show pretty printers no more than the repr does."""
        return [("recipients", len(self.recipients)), ("attachments", len(self.attachments) + len(self.inline_images))]


_LONGEST_THREAD = 30
_WRITTEN_FROM = {
    "priority": (("x-priority", "importance"), "X-Priority and Importance are"),
    "unsubscribe": (("list-unsubscribe", "list-unsubscribe-post"), "List-Unsubscribe and List-Unsubscribe-Post are"),
    "auto_submitted": (("auto-submitted",), "Auto-Submitted is"),
}


class _Stamp(BaseModel):
    """The two fields without which an email cannot be rendered."""

    model_config = ConfigDict(hide_input_in_errors=True, title="Email")

    message_id: MessageId
    date: Moment


def make_message_id(token: str, domain: str) -> str:
    """Make `<token@domain>` of a token that the caller knows to be unique. Raises ValueError if it is no Message-ID."""
    return rules.message_id(f"<{token}@{domain}>")


def envelope_of(email: Email) -> Envelope:
    """Give the envelope: envelope_sender, or else the sender, or else the author; and every recipient, Bcc included."""
    path = email.envelope_sender
    return Envelope((email.sender or email.from_).email if path is None else path, email.recipients)
