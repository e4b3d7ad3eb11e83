"""What RFC 5321 lets a line hold: limits, productions, and the one function that makes text a command line.

Law: text becomes bytes for the wire in `command_line` and nowhere else, and no control character passes it. The
productions guard the framing of a command (nothing can end a path or start a parameter); whether an address makes sense
is decided where mails are made.
"""

import re
from typing import Final

from smtp_transport.errors import ErrorKind, ProtocolError

MAX_LOCAL_PART: Final = 64
"""Octets, RFC 5321 section 4.5.3.1.1."""
MAX_PATH: Final = 256
"""Octets with both angle brackets, RFC 5321 section 4.5.3.1.3."""
MAX_COMMAND: Final = 2048
"""Octets with CRLF. RFC 5321 section 4.5.3.1.4 says 512 and lets extensions add; none reaches this."""
MAX_INITIAL_RESPONSE_LINE: Final = 512
"""Octets with CRLF of an AUTH command that carries an initial response (RFC 4954 section 4)."""
MAX_SASL_LINE: Final = 12_288
"""Octets with CRLF of a SASL response (RFC 4954 section 4)."""
MAX_REPLY_LINE: Final = 8_192
"""Octets without LF. RFC 5321 says 512, and servers exceed it; SASL challenges are the longest of all."""
MAX_REPLY_LINES: Final = 512

VERB: Final = re.compile(r"[A-Z][A-Z0-9-]{0,31}")
KEYWORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
"""esmtp-keyword and ehlo-keyword."""
PARAMETER_VALUE: Final = re.compile(r"[\x21-\x3c\x3e-\x7e]+")
"""esmtp-value."""
SASL_MECHANISM: Final = re.compile(r"[A-Z0-9_-]{1,20}")
"""RFC 4422 section 3.1."""

_QCHAR = re.compile(r"[\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e]")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
# C1 controls and the two Unicode line ends are letters to no one and line ends to some; lone surrogates are not text.
_CONTROL_BEYOND_ASCII = re.compile("[\x80-\x9f\u2028\u2029\ud800-\udfff]")

# Dots may stand anywhere: real mailboxes have ".." and a dot before the "@", and no dot can break the framing.
_ATOM = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~.\-"
_QUOTED = r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e%s]|\\[\x20-\x7e])*"'
_LITERAL = r"\[[\x21-\x5a\x5e-\x7e]+\]"
_BEYOND_ASCII = "\u00a0-\U0010ffff"


def _mailbox(extra: str) -> re.Pattern[str]:
    # What a part has taken is no other's: nothing is gone through twice.
    domain = rf"[A-Za-z0-9_\-{extra}]++(?:\.[A-Za-z0-9_\-{extra}]++)*+"
    return re.compile(rf"([{_ATOM}{extra}]++|{_QUOTED % extra})@(?:{domain}|{_LITERAL})")


_MAILBOX = _mailbox("")
_MAILBOX_UTF8 = _mailbox(_BEYOND_ASCII)
_EHLO_ARGUMENT = re.compile(rf"[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]+)*|{_LITERAL}")


def is_mailbox(text: str, *, utf8: bool = False) -> bool:
    """Tell whether the text can stand between the angle brackets of a path (RFC 5321 section 4.1.2).

    With `utf8`, characters beyond ASCII are allowed (RFC 6531 section 3.3).
    """
    found = (_MAILBOX_UTF8 if utf8 else _MAILBOX).fullmatch(text)
    if found is None:
        return False
    if not utf8 or text.isascii():
        return len(text) <= MAX_LOCAL_PART or (len(found[1]) <= MAX_LOCAL_PART and len(text) <= MAX_PATH - 2)
    if _CONTROL_BEYOND_ASCII.search(text):
        return False
    return len(found[1].encode()) <= MAX_LOCAL_PART and len(text.encode()) <= MAX_PATH - 2


def is_ehlo_argument(text: str) -> bool:
    """Tell whether the text is a domain or an address literal (RFC 5321 section 4.1.1.1)."""
    return len(text) <= 255 and _EHLO_ARGUMENT.fullmatch(text) is not None


def xtext(text: str) -> str:
    """Write printable ASCII as the value of a parameter (RFC 3461 section 4); the caller has made sure that it is."""
    return "".join(f"+{ord(c):02X}" if c in "+= " else c for c in text)


def address_xtext(address: str) -> str:
    """Write an address as ORCPT wants it: `rfc822;` in xtext, beyond ASCII `utf-8;` with its own escapes (RFC 6533)."""
    if address.isascii():
        return f"rfc822;{xtext(address)}"
    return "utf-8;" + "".join(c if _QCHAR.fullmatch(c) else rf"\x{{{ord(c):X}}}" for c in address)


def command_line(text: str, *, utf8: bool = False, limit: int = MAX_COMMAND) -> bytes:
    """Make text one command line, CRLF included.

    Raises `ProtocolError` for a control character, for one beyond ASCII unless `utf8`, and for a line of more than
    `limit` octets. The error does not repeat the text.
    """
    if not (text.isascii() and text.isprintable()):
        _refuse_unspeakable(text, utf8=utf8)
    line = text.encode() + b"\r\n"
    if len(line) > limit:
        raise ProtocolError(f"a command line of {len(line)} octets is longer than {limit}", ErrorKind.PROTOCOL)
    return line


def _refuse_unspeakable(text: str, *, utf8: bool) -> None:
    if _CONTROL.search(text) or _CONTROL_BEYOND_ASCII.search(text):
        raise ProtocolError("a command cannot hold a control character", ErrorKind.PROTOCOL)
    if not utf8 and not text.isascii():
        raise ProtocolError("a command cannot hold characters beyond ASCII without SMTPUTF8", ErrorKind.PROTOCOL)
