"""Mails as members of Celery's canvas: signatures whose id is the mail's own, and whose email never enters a message.

Law: an email that would have to travel in a Celery message is an error where the canvas is applied, not a leak.
"""

import base64
import secrets
import time
from collections.abc import Mapping
from typing import Any

import msgpack
from celery.canvas import Signature

from mailworker.celery import SEND_EMAIL
from mailworker.intake import read_email
from mailworker.keys import lane_of, new_mail_id
from mailworker.options import RefusedError
from smtp_transport.envelope import Envelope
from smtp_transport.message import AnyMessage, Email, RawEmail, pack, pack_raw, unpack, unpack_raw

# Celery's own options that say whom to tell of an end.
TELLING = ("link", "link_error", "chain", "chord")
_TYPE = "mailworker.mail"
_PACKED = "__mailworker_email__"


class EmailArgument:
    """An email held by a signature: it shows nothing of itself, and refuses to be written into a message."""

    __slots__ = ("email",)

    def __init__(self, email: AnyMessage | Mapping[str, Any]) -> None:
        """Read the email. Raises RefusedError or ValidationError for what is none."""
        self.email: Email | RawEmail = read_email(email)

    def __repr__(self) -> str:
        return "<email>"

    def __deepcopy__(self, memo: object) -> "EmailArgument":
        return self

    def __json__(self) -> Any:
        raise RefusedError(_STRAY)

    def __reduce__(self) -> Any:
        raise RefusedError(_STRAY)

    def packed(self) -> dict[str, str]:
        """Write the email down as JSON can hold it: for sealing only."""
        email = self.email
        if isinstance(email, Email):
            facts: list[Any] = [pack(email)]
        else:
            facts = [pack_raw(email), email.envelope.sender, list(email.envelope.recipients)]
        return {_PACKED: base64.b64encode(msgpack.packb(facts, use_bin_type=True)).decode("ascii")}

    @classmethod
    def restored(cls, argument: Any) -> Any:
        """Read what `packed` wrote; anything else is returned as it is."""
        if not isinstance(argument, Mapping) or set(argument) != {_PACKED}:
            return argument
        packed, *envelope = msgpack.unpackb(base64.b64decode(argument[_PACKED]))
        return cls(unpack_raw(packed, Envelope(envelope[0], tuple(envelope[1]))) if envelope else unpack(packed))


_STRAY = (
    "an email would travel in a Celery message: a mail that follows another task has to be sent by that task "
    "(send_email.delay), or the mail has to come first"
)


@Signature.register_type(name=_TYPE)
class MailSignature(Signature[Any]):
    """`send_email.s(email)`: for chains, groups, chords, `link` and `link_error`."""

    @classmethod
    def of(cls, task: Any, args: Any, kwargs: Any, immutable: bool, options: Mapping[str, Any]) -> "MailSignature":  # noqa: FBT001 - Celery's word
        """Make a signature; with an email of its own it takes no result of its predecessor."""
        args = tuple(EmailArgument(email) for email in (*(args or ()), *(kwargs or {}).values()))
        # `type` is Celery's name for the task object itself.
        is_whole = immutable or bool(args)
        return cls(task, args, {}, dict(options), subtask_type=_TYPE, immutable=is_whole, app=task.app)

    @classmethod
    def from_dict(cls, d: Any, app: Any = None) -> "MailSignature":
        """Make one of a copy of another."""
        return cls(d, app=app)

    def clone(self, args: Any = None, kwargs: Any = None, **opts: Any) -> Any:
        """Copy, with callbacks that still know their app: Celery's copies of signatures in options do not."""
        copy = super().clone(args, kwargs, **opts)
        for name in TELLING:
            if name in self.options and name not in opts:
                told = self.options[name]
                copy.options[name] = list(told) if isinstance(told, list) else told
        return copy

    partial = clone

    def freeze(self, _id: str | None = None, *args: Any, **kwargs: Any) -> Any:
        """Fix the id, which is a mail's. An id that somebody else wishes for is no mail's id, and is not used."""
        lane = self.options.get("lane", "default")
        try:
            is_mail_id = _id is not None and lane_of(_id) == lane
        except ValueError:
            is_mail_id = False
        own = _id if is_mail_id else new_mail_id(lane, time.time_ns() // 1_000_000, secrets.token_bytes(10))
        result = super().freeze(own, *args, **kwargs)
        # From here on any Celery understands it, also where this type is not known.
        self["subtask_type"] = None
        return result

    _freeze = freeze


def is_mail(signature: Mapping[str, Any]) -> bool:
    """Whether a signature, or its dict, sends a mail."""
    return bool(signature["task"] == SEND_EMAIL)
