"""SASLprep (RFC 4013): different ways to type the same name or password become the same octets.

The tables are those of Unicode 3.2, as RFC 3454 froze them; Python brings them.
"""

import stringprep
from typing import Final
from unicodedata import ucd_3_2_0

_PROHIBITED: Final = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,  # unassigned: what is prepared is compared with a stored string (RFC 5802 section 2.2)
)


def saslprep(text: str) -> str | None:
    """Prepare a name or password; None if it holds what neither may (RFC 4013 section 2).

    It does not raise, so that no traceback shows what it was given.
    """
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char)
    )
    prepared = ucd_3_2_0.normalize("NFKC", mapped)
    if any(is_in_table(char) for is_in_table in _PROHIBITED for char in prepared):
        return None
    return prepared if _runs_one_way(prepared) else None


def _runs_one_way(text: str) -> bool:
    """Whether right-to-left text, if there is any, is all there is and stands at both ends (RFC 3454 section 6)."""
    if not any(map(stringprep.in_table_d1, text)):
        return True
    return (
        not any(map(stringprep.in_table_d2, text))
        and stringprep.in_table_d1(text[0])
        and stringprep.in_table_d1(text[-1])
    )
