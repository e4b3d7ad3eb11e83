"""Addresses: RFC 5321 mailboxes with an optional display name.

Law: what passes here can stand in an envelope and in a header as it is. The domain is kept as A-labels, the one form
that every server takes; a local part that is not ASCII is kept and needs SMTPUTF8 (RFC 6531). `email.utils.parseaddr`
is never used: its answers to hostile input differ between patch levels of Python.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, ModelWrapValidatorHandler, StrictStr, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from smtp_transport.fields import silently
from smtp_transport.message import rules
from smtp_transport.message.encoded_words import phrase
from smtp_transport.observation.masking import masked_address

_LONGEST_ADDRESS = 254  # RFC 5321 section 4.5.3.1.3, less the angle brackets
_LONGEST_LOCAL_PART = 64  # RFC 5321 section 4.5.3.1.1
_LONGEST_DOMAIN = 253
_LONGEST_NAME = 998  # octets: what one header line may hold (RFC 5322 section 2.1.1), encoded-words aside

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = rf"{_ATOM}(?:\.{_ATOM})*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# The last label is never all digits: that would be an IPv4 address without its brackets.
_DOMAIN = rf"(?:{_LABEL}\.)*(?![0-9]+\Z){_LABEL}"
_LOCAL_PART = re.compile(_LOCAL)
_DOMAIN_NAME = re.compile(_DOMAIN)
_PLAIN_MAILBOX = re.compile(rf"{_LOCAL}@{_DOMAIN}")

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_QUOTED_MAILBOX = re.compile(rf"{_QUOTED}@[^<>\"]*")
_NAMED_MAILBOX = re.compile(
    rf"(?:(?P<quoted>{_QUOTED})[ ]*|(?P<bare>[^\"<>@,:;\\]*))<(?P<email>{_QUOTED}@[^<>\"]*|[^<>\"]*)>"
)
_ESCAPED = re.compile(r"\\(.)")


def _refusal(reason: str) -> PydanticCustomError:
    return PydanticCustomError("email_address", "{reason}", {"reason": reason})


def _checked_email(value: str) -> str:
    """Give the canonical form of an addr-spec, or refuse it (RFC 5321 section 4.1.2, RFC 6531 section 3.3)."""
    if len(value) <= _LONGEST_ADDRESS and _PLAIN_MAILBOX.fullmatch(value):
        if value.index("@") > _LONGEST_LOCAL_PART:
            raise _refusal("is too long before the '@': 64 octets at most")
        return value
    rules.label(value)
    local, at, domain = value.rpartition("@")
    if not at:
        raise _refusal("has no '@'; write local-part@domain")
    if not local or not domain:
        raise _refusal("lacks the part before or after the '@'; write local-part@domain")
    canonical = f"{_checked_local_part(local)}@{_checked_domain(domain)}"
    if len(canonical.encode()) > _LONGEST_ADDRESS:
        raise _refusal("is too long: 254 octets at most")
    return canonical


def _checked_local_part(local: str) -> str:
    if len(local.encode()) > _LONGEST_LOCAL_PART:
        raise _refusal("is too long before the '@': 64 octets at most")
    if _LOCAL_PART.fullmatch(local):
        return local
    # A stand-in domain, because email-validator refuses names that are right for us (localhost, .test, .local).
    try:
        canonical = _validated(f"{local}@example.com").rpartition("@")[0]
    except ValueError:
        raise _refusal(
            "has a wrong part before the '@'; quote it if it holds spaces or '@', and give several addresses as a list"
        ) from None
    # NFC can make text longer.
    return canonical if canonical == local else _checked_local_part(canonical)


def _checked_domain(domain: str) -> str:
    if domain.startswith("["):
        wrong = _refusal("has a wrong address literal; write it as [192.0.2.1] or [IPv6:2001:db8::1]")
        if "%" in domain:  # a scope means nothing to another machine; not every email-validator refuses it
            raise wrong
        try:
            return _validated(f"x@{domain}").rpartition("@")[2]
        except ValueError:
            raise wrong from None
    if not domain.isascii():
        domain = _a_labels(domain)
    if len(domain) > _LONGEST_DOMAIN or not _DOMAIN_NAME.fullmatch(domain):
        raise _refusal(
            "has a wrong domain; use letters, digits and hyphens in labels of 1 to 63, or an address in brackets"
        )
    return domain


def _validated(address: str) -> str:
    from email_validator import validate_email  # noqa: PLC0415 - 20 ms that only odd addresses should pay

    return validate_email(
        address, check_deliverability=False, allow_quoted_local=True, allow_domain_literal=True
    ).normalized


def _a_labels(domain: str) -> str:
    import idna  # noqa: PLC0415 - 10 ms that only internationalized domains should pay

    if len(domain) > _LONGEST_DOMAIN:  # idna takes quadratic time on long labels
        raise _refusal("is too long after the '@': 253 octets at most")
    try:
        return idna.encode(domain, uts46=True, std3_rules=True).decode()
    except UnicodeError:
        raise _refusal("has a domain that IDNA 2008 does not allow; check its spelling") from None


def _checked_name(value: str) -> str | None:
    if len(rules.label(value).encode()) > _LONGEST_NAME:
        raise _refusal("is too long: 998 octets at most")
    return value.strip(" ") or None


@dataclass(frozen=True, slots=True, repr=False, config=ConfigDict(extra="forbid", hide_input_in_errors=True))
class Address:
    """A mailbox: `email` as local-part@domain with the domain in A-labels, `name` as plain text for people.

    A name has 998 octets of UTF-8 at most.

    Raises pydantic.ValidationError for anything that RFC 5321 section 4.1.2, or RFC 6531 for international addresses,
    does not allow, and for every control character.
    """

    email: Annotated[StrictStr, AfterValidator(_checked_email)]
    name: Annotated[StrictStr, AfterValidator(_checked_name)] | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _name_fields(cls, value: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        return silently(validate, rules.named(value, ("email", "name")))

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read "a@b", "<a@b>", "Name <a@b>" or '"Name, with specials" <a@b>'. Raises pydantic.ValidationError."""
        try:
            return cls(**_split(text))
        except PydanticCustomError as reason:
            raise rules.refused("Address", reason) from None

    @property
    def local_part(self) -> str:
        """What stands before the '@', quoted if it needs to be."""
        return self.email.rpartition("@")[0]

    @property
    def domain(self) -> str:
        """What stands after the '@': A-labels, or an address literal in square brackets."""
        return self.email.rpartition("@")[2]

    @property
    def envelope_format(self) -> str:
        """`<local-part@domain>`, as MAIL FROM and RCPT TO carry it."""
        return f"<{self.email}>"

    @property
    def header_format(self) -> str:
        """The mailbox as a header carries it, in one line: the name quoted or encoded (RFC 2047) where it must be."""
        return " ".join([*phrase(self.name), f"<{self.email}>"]) if self.name else self.email

    @property
    def masked(self) -> str:
        """`a***@example.com`, for logs."""
        return masked_address(self.email)

    def __repr__(self) -> str:
        return f"<Address {self.masked}>"


def _split(mailbox: str) -> dict[str, str]:
    """Split "Name <local-part@domain>" into the fields of an Address."""
    text = rules.label(mailbox).strip(" ")
    if "<" not in text or _QUOTED_MAILBOX.fullmatch(text):
        return {"email": text}
    found = _NAMED_MAILBOX.fullmatch(text)
    if found is None:
        raise _refusal('is not one address; write "Name <local-part@domain>", and a name with , : ; @ in double quotes')
    quoted, bare, email = found["quoted"], found["bare"], found["email"]
    return {"email": email, "name": bare if quoted is None else _ESCAPED.sub(r"\1", quoted[1:-1])}


def _read_mailbox(value: Any) -> Any:
    """Split text; leave everything else to pydantic."""
    return _split(value) if isinstance(value, str) else value


def _one_or_many(value: Any) -> Any:
    """Let one address stand for a list of one, and nothing for an empty list."""
    if value is None:
        return ()
    return (value,) if isinstance(value, (str, Mapping, Address)) else value


Mailbox = Annotated[Address, BeforeValidator(_read_mailbox)]
"""An Address wherever data comes in: text and dicts are read too."""
Mailboxes = Annotated[tuple[Mailbox, ...], BeforeValidator(_one_or_many)]
"""Any number of them; one alone needs no list."""
