"""How to leave a mailing list (RFC 2369 section 3.2, RFC 8058).

Law: what stands here names one person, so no repr shows it.
"""

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, StrictBool, StrictStr, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from smtp_transport.message import rules
from smtp_transport.message.address import Address

_URL_TEXT = r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]"  # RFC 3986 section 2
_URL = re.compile(rf"https?://{_URL_TEXT}+", re.IGNORECASE)
_QUERY = re.compile(rf"{_URL_TEXT}+")
_LONGEST = 900  # With angle brackets and a comma it still fits a line of 998.


def _checked_url(value: str) -> str:
    if len(value) > _LONGEST or not _URL.fullmatch(value):
        raise PydanticCustomError(
            "url", "is no URL for a header; write https://… in ASCII, percent-encoded, at most 900 characters"
        )
    return value


def _checked_mailto(value: str) -> str:
    address, question, query = value.removeprefix("mailto:").partition("?")
    canonical = Address(address).email
    if not canonical.isascii() or not set('<>"\\ %').isdisjoint(canonical):
        raise PydanticCustomError("mailto", "has an address that no mailto URL should carry; use a plain ASCII one")
    if question and (len(value) > _LONGEST or not _QUERY.fullmatch(query)):
        raise PydanticCustomError("mailto", "has a wrong query after '?'; percent-encode it (RFC 6068)")
    return canonical + question + query


@dataclass(frozen=True, slots=True, repr=False, config=ConfigDict(extra="forbid", hide_input_in_errors=True))
class Unsubscribe:
    """A List-Unsubscribe header: a URL, an address (`leave@example.com?subject=...`), or both.

    `one_click` says that a POST to the https URL unsubscribes without a question: List-Unsubscribe-Post (RFC 8058),
    which asks for a DKIM signature over both headers. Raises pydantic.ValidationError naming the field.
    """

    url: Annotated[StrictStr, AfterValidator(_checked_url)] | None = None
    mailto: Annotated[StrictStr, AfterValidator(_checked_mailto)] | None = None
    one_click: StrictBool = False

    @model_validator(mode="before")
    @classmethod
    def _name_fields(cls, value: Any) -> Any:
        return rules.named(value, ("url", "mailto", "one_click"))

    @model_validator(mode="after")
    def _check_ways(self) -> Self:
        if self.url is None and self.mailto is None:
            raise PydanticCustomError("no_way_out", "url, mailto: give at least one of them")
        if self.one_click and not (self.url or "").lower().startswith("https:"):
            raise PydanticCustomError("one_click", "one_click: needs an https url (RFC 8058 section 3.1)")
        return self

    @property
    def links(self) -> tuple[str, ...]:
        """The URLs in their angle brackets, the one that is best for readers first."""
        ways = (self.url, self.mailto and f"mailto:{self.mailto}")
        return tuple(f"<{way}>" for way in ways if way)

    def __repr__(self) -> str:
        return f"<Unsubscribe by {len(self.links)} way{'s' * (len(self.links) > 1)}>"
