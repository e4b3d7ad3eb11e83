"""What a server said, as a log may show it: servers like to quote addresses."""

import re
from collections.abc import Iterable
from typing import Final

HIDDEN: Final = "***"
_ADDRESS: Final = re.compile(
    # A match starts behind a separator only, so that a long run without @ is looked at once.
    r'(?:"[^"@]{0,200}"|(?<![^\s<>()\[\],;:"@])([^\s<>()\[\],;:"@])[^\s<>()\[\],;:"@]*)@(\[[^\]\s]*\]|[^\s<>()\[\],;:"@]*)'
)
_PATH: Final = re.compile(r"<[^<>@]{1,512}>")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_MAX_LINE: Final = 512
_MAX_LINES: Final = 100


def masked_text(text: str) -> str:
    """Shorten a line, hide all of an address but one letter and the domain, and all of a path without a domain."""
    shown = text
    if len(text) > _MAX_LINE:
        # The last word may be half an address, which no pattern knows.
        shown = text[:_MAX_LINE].rpartition(" ")[0] + f" {HIDDEN}"
    return _ADDRESS.sub(rf"\1{HIDDEN}@\2", _PATH.sub(f"<{HIDDEN}>", _CONTROL.sub("?", shown)))


def masked_lines(lines: Iterable[str]) -> tuple[str, ...]:
    """Do so for the lines of a reply, as many as are worth keeping."""
    return tuple(masked_text(line) for line, _ in zip(lines, range(_MAX_LINES), strict=False))
