"""What a server said, as a log may show it: servers like to quote addresses."""

import re
from collections.abc import Iterable
from typing import Final

HIDDEN: Final = "***"
_ADDRESS: Final = re.compile(
    # A match starts behind a separator only, so that a long run without @ is looked at once.
    r"""(?:"(?:[^"\\]|\\.){0,200}"|(?<![^\s<>()\[\],;:"@])([^\s<>()\[\],;:"@])[^\s<>()\[\],;:"@]*)"""
    # Of several @ the last one is before the domain.
    r"""@(?:[^\s<>()\[\],;:"@]*@)*(\[[^\]\s]*\]|[^\s<>()\[\],;:"@]*)"""
)
_PATH: Final = re.compile(r"<[^<>@]{1,512}>")
_LINE_END: Final = re.compile(r"[\t\r\n]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_MAX_TEXT: Final = 512
_MAX_LINES: Final = 100


def masked_address(address: str) -> str:
    """Give `a***@example.com`; without a domain nothing is left to see."""
    local, at, domain = address.rpartition("@")
    letter = local[:1].replace('"', "")
    return f"{letter}{HIDDEN}@{domain}" if at else HIDDEN


def masked_text(text: str, most: int = _MAX_TEXT) -> str:
    """Make one line of at most `most` characters, that shows of an address one letter and the domain.

    A path without a domain is hidden whole, a control character is shown as "?".
    """
    shown = text
    if len(text) > most:
        # The last word may be half an address, which no pattern knows.
        shown = text[:most].rpartition(" ")[0] + f" {HIDDEN}"
    elif text.isprintable() and "@" not in text and "<" not in text:
        return text  # as most replies are
    shown = _CONTROL.sub("?", _LINE_END.sub(" ", shown))
    return _ADDRESS.sub(rf"\1{HIDDEN}@\2", _PATH.sub(f"<{HIDDEN}>", shown))[:most]


def masked_lines(lines: Iterable[str]) -> tuple[str, ...]:
    """Do so for the lines of a reply, as many as are worth keeping."""
    return tuple(masked_text(line) for line, _ in zip(lines, range(_MAX_LINES), strict=False))
