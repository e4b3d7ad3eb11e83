"""Calendar invitations that readers can answer (iTIP over mail, RFC 6047).

Law: the calendar's own text is not rewritten; only its line ends are made CRLF, as every body's.
"""

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, StrictStr, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from smtp_transport.message import rules
from smtp_transport.message.attachment import FileName

_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")
_METHOD_LINE = re.compile(r"^METHOD(?:;[^:\r\n]*)?:[ ]*([A-Za-z-]+)[ ]*\r?$", re.MULTILINE | re.IGNORECASE)


def _checked_method(value: str) -> str:
    method = value.upper()
    if not _METHOD.fullmatch(method):
        raise PydanticCustomError("method", "is no method; write REQUEST, CANCEL, REPLY or another word of RFC 5546")
    return method


def _checked_text(value: str) -> str:
    if "BEGIN:VCALENDAR" not in value.upper():
        raise PydanticCustomError("calendar", "is no calendar; it must hold BEGIN:VCALENDAR (RFC 5545)")
    return rules.body(value)


@dataclass(frozen=True, slots=True, repr=False, config=ConfigDict(extra="forbid", hide_input_in_errors=True))
class Calendar:
    """An iCalendar object as the last alternative of the body, which calendars of readers offer to accept or decline.

    `method` must be the one that the text names (RFC 6047 section 2.4). With a `filename` the same text travels as an
    attached file as well, for readers that know no invitations. Raises pydantic.ValidationError naming the field.
    """

    ics_text: Annotated[StrictStr, AfterValidator(_checked_text)]
    method: Annotated[StrictStr, AfterValidator(_checked_method)] = "REQUEST"
    filename: FileName | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_fields(cls, value: Any) -> Any:
        return rules.named(value, ("ics_text", "method", "filename"))

    @model_validator(mode="after")
    def _check_method(self) -> Self:
        named = _METHOD_LINE.search(self.ics_text)
        if named is None or named[1].upper() != self.method:
            raise PydanticCustomError(
                "method", "method: the text must have a METHOD line that says the same (RFC 6047 section 2.4)"
            )
        return self

    def __repr__(self) -> str:
        return f"<Calendar {self.method}, {len(self.ics_text)} characters>"
