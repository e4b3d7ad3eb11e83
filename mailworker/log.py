"""What may be said aloud: masking of addresses in everything that leaves the process as text."""

import logging
import re

# Anything that looks like an address, generously: rather mask a word too many.
_ADDRESS = re.compile(r"(?P<local>\"[^\"\s]*\"|[^\s<>\"'(),:;@\[\]]+)@(?P<domain>[^\s<>\"'(),:;@]+)")
_SEEN = 1

logger = logging.getLogger("mailworker")


def mask_address(address: str) -> str:
    """`ann@example.com` as `a***@example.com`. Without an @ nothing is left to see."""
    local, at, domain = address.rpartition("@")
    return f"{local[:_SEEN]}***@{domain}" if at else "***"


def mask_text(text: str) -> str:
    """The text with every address in it masked; a server's replies often repeat the recipient."""
    return _ADDRESS.sub(lambda found: mask_address(found[0]), text)
