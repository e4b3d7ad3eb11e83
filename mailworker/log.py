"""What may be said aloud: masking of addresses in everything that leaves the process as text."""

import logging
import re

# Anything that looks like an address, generously: rather mask a word too many. A quoted local part may hold blanks, a
# domain may be a literal. The look-behind lets a run of letters be tried once, not once for each of its letters.
_ADDRESS = re.compile(
    r"(?:\"(?:[^\"\\\r\n]|\\.){0,64}\"|(?<![^\s<>\"'(),:;@\[\]])[^\s<>\"'(),:;@\[\]]+)@(?:\[[^\]\s]{0,64}\]|[^\s<>\"'(),:;@]+)"
)
_SEEN = 1
# Longer texts are cut before they are looked at: no reply that long tells anybody more.
_MOST = 2_000

logger = logging.getLogger("mailworker")


def mask_address(address: str) -> str:
    """`ann@example.com` as `a***@example.com`. Without an @ nothing is left to see."""
    local, at, domain = address.rpartition("@")
    return f"{local[:_SEEN]}***@{domain}" if at else "***"


def mask_text(text: str, most: int = _MOST) -> str:
    """Mask every address in a text and cut it to `most` characters; a server's replies often repeat the recipient."""
    if len(text) > _MOST:
        # Not in the middle of a word: half an address would not look like one.
        text = text[:_MOST].rpartition(" ")[0]
    return _ADDRESS.sub(lambda found: mask_address(found[0]), text)[:most]
