"""What the values of an email may hold, before any of them becomes bytes.

Law: a value that could end a line, or that cannot be written as UTF-8, is refused and never repaired. A refusal says
what is wrong and what to do, and never repeats the value: the field's name comes from where the rule is used.
"""

import re
from collections.abc import Sequence
from typing import Any

from pydantic_core import ArgsKwargs, PydanticCustomError, ValidationError

# What ends a line for some reader (RFC 5322 section 2.2 and Unicode's own line ends), every other C0 control, DEL, and
# the halves of surrogate pairs, which no UTF-8 can carry.
_UNSAFE = re.compile("[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
_UNSAFE_OR_TAB = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")

_FIELD_NAME = re.compile(r"[!-9;-~]{1,76}")
_MIME_ATOM = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+"  # RFC 2045 section 5.1
_MEDIA_TYPE = re.compile(
    rf"({_MIME_ATOM})/{_MIME_ATOM}(?:[ ]*;[ ]*{_MIME_ATOM}=(?:{_MIME_ATOM}|\"(?:[ !#-\[\]-~]|\\[ -~])*\"))*",
    re.ASCII,
)
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM = rf"{_ATOM}(?:\.{_ATOM})*"
_OWN_ID = re.compile(rf"<{_DOT_ATOM}@(?:{_DOT_ATOM}|\[[!-Z^-~]*\])>")
# What others wrote is often no RFC 5322 msg-id (section 3.6.4): anything without white space and brackets is repeated.
_FOREIGN_ID = re.compile(r"<[!-;=?-~]+>")
_CONTENT_ID = re.compile(rf"{_DOT_ATOM}(?:@{_DOT_ATOM})?")

_LONGEST_WORD = 900  # With a field name, a colon and a space it still fits the 998 of RFC 5322 section 2.1.1.
_LONGEST_ID = 500


def refused(title: str, reason: PydanticCustomError) -> ValidationError:
    """Wrap a refusal that happens outside of pydantic's own validation, so that callers meet one kind of error."""
    return ValidationError.from_exception_data(title, [{"type": reason, "input": None}], hide_input=True)


def named(value: Any, names: Sequence[str]) -> Any:
    """Give positional arguments their field names: pydantic's errors would tell positions otherwise."""
    if isinstance(value, ArgsKwargs) and value.args and len(value.args) <= len(names):
        positional = dict(zip(names, value.args, strict=False))
        given = value.kwargs or {}
        return value if positional.keys() & given.keys() else positional | given
    return value


def _refuse_unsafe(found: re.Match[str] | None) -> None:
    if found is None:
        return
    code = f"U+{ord(found[0]):04X}"
    if "\ud800" <= found[0] <= "\udfff":
        raise PydanticCustomError(
            "lone_surrogate", "holds {code}, half of a character; decode the text before it comes here", {"code": code}
        )
    raise PydanticCustomError(
        "control_character", "holds the control character {code}; give one line without it", {"code": code}
    )


def line(value: str) -> str:
    """Let text for an unstructured header pass: one line, TAB allowed."""
    if not (value.isascii() and value.isprintable()):
        _refuse_unsafe(_UNSAFE.search(value))
    return value


def label(value: str) -> str:
    """Let a name pass: one line, no control character at all."""
    if not (value.isascii() and value.isprintable()):
        _refuse_unsafe(_UNSAFE_OR_TAB.search(value))
    return value


def file_name(value: str) -> str:
    """Let a file name of 1 to 255 characters pass."""
    if not 1 <= len(value) <= 255:
        raise PydanticCustomError("file_name", "must have 1 to 255 characters; shorten it")
    return label(value)


def body(value: str) -> str:
    """Let a body pass: any text that UTF-8 can carry, except NUL (RFC 5322 section 4)."""
    if "\0" in value:
        raise PydanticCustomError("nul_in_body", "holds NUL (U+0000); take it out, or attach the data as a file")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise PydanticCustomError(
                "lone_surrogate", "holds half of a character (a lone surrogate); decode the text before it comes here"
            ) from None
    return value


def message_id(value: str) -> str:
    """Let the email's own Message-ID pass, with its angle brackets put on if they are missing."""
    bracketed = _bracketed(value)
    if not _OWN_ID.fullmatch(bracketed):
        raise PydanticCustomError(
            "message_id", "is no Message-ID; write it as <left@right> in ASCII (RFC 5322 section 3.6.4)"
        )
    return bracketed


def foreign_id(value: str) -> str:
    """Let the Message-ID of another mail pass, however odd, with its angle brackets put on if they are missing."""
    bracketed = _bracketed(value)
    if not _FOREIGN_ID.fullmatch(bracketed):
        raise PydanticCustomError(
            "message_id", "is no Message-ID; copy it as it stands in the other mail: <left@right>, without white space"
        )
    return bracketed


def foreign_ids(text: str) -> tuple[str, ...]:
    """Pick the Message-IDs out of a header that another program wrote; the rest is passed over."""
    return tuple(one for one in _FOREIGN_ID.findall(text) if len(one) <= _LONGEST_ID)


def _bracketed(value: str) -> str:
    label(value)
    if len(value) > _LONGEST_ID:
        raise PydanticCustomError("message_id", "is longer than 500 characters; shorten it")
    return value if value.startswith("<") else f"<{value}>"


def content_id(value: str) -> str:
    """Let a Content-ID pass; kept without its angle brackets, as a `cid:` reference needs it (RFC 2392)."""
    label(value)
    bare = value[1:-1] if value.startswith("<") and value.endswith(">") else value
    if len(bare) > 200 or not _CONTENT_ID.fullmatch(bare):
        raise PydanticCustomError(
            "content_id", "is no Content-ID; use up to 200 ASCII letters, digits, '.', '-', '_', and one '@' between"
        )
    return bare


def media_type(value: str) -> str:
    """Let a media type of one part pass, with its parameters: `text/csv`, `text/calendar; method=REQUEST`."""
    label(value)
    found = _MEDIA_TYPE.fullmatch(value) if len(value) <= 200 else None
    if found is None:
        raise PydanticCustomError(
            "media_type", "is no media type; write type/subtype, as in application/pdf (RFC 2045)"
        )
    if found[1].lower() == "multipart":
        raise PydanticCustomError(
            "media_type", "is a multipart type; a part made of bytes cannot be one, attach each file"
        )
    return value


# The field to use instead, for the headers that Email writes by itself.
_OWNED = {
    "from": "from_",
    "sender": "sender",
    "reply-to": "reply_to",
    "to": "to",
    "cc": "cc",
    "bcc": "bcc",
    "resent-bcc": "bcc",
    "subject": "subject",
    "date": "date",
    "message-id": "message_id",
    "in-reply-to": "in_reply_to",
    "references": "references",
    "mime-version": "nothing: it is always written",
    "return-path": "envelope_sender",
}


def header(pair: tuple[str, str]) -> tuple[str, str]:
    """Let a custom header pass: a name of RFC 5322 ftext that Email does not own, and one line of text."""
    name, value = pair
    if not _FIELD_NAME.fullmatch(name):
        raise PydanticCustomError(
            "header_name",
            "the name must be 1 to 76 printable ASCII characters without ':' or space (RFC 5322 section 2.2)",
        )
    lowered = name.lower()
    if lowered in _OWNED or lowered.startswith("content-"):
        instead = _OWNED.get(lowered, "attachments or a body")
        raise PydanticCustomError(
            "header_owned", "{name} is written by Email itself; use {instead}", {"name": name, "instead": instead}
        )
    line(value)
    if value.isascii() and len(value) > _LONGEST_WORD and has_endless_word(value):
        raise PydanticCustomError(
            "header_word",
            "{name} holds a word of more than 900 characters, which no line can carry; put spaces into it",
            {"name": name},
        )
    return pair


def has_endless_word(value: str) -> bool:
    """Whether some word, with the white space before it, is too long to stand on a line of its own."""
    return any(len(word) > _LONGEST_WORD for word in cut_at_spaces(value))


def cut_at_spaces(value: str) -> list[str]:
    """Cut text before each run of white space, so that the pieces joined are the text again."""
    return _SPACED_WORD.findall(value)


_SPACED_WORD = re.compile(r"[ \t]*[^ \t]+")
