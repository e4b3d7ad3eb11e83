"""What a refusal says of an address: that it leads nowhere, or something about us, the mail or the day.

Law: a table of enhanced codes, and nothing else; words of servers are no proof. Refusals for policy, content, quota or
rate, and codes about the sender's address, say nothing about whether the recipient exists.
"""

from typing import Final

# RFC 3463 section 3.2, and RFC 7505 for the last: no such mailbox, no such domain, no such form, moved away, a domain
# that says it takes no mail. Not among them: 5.1.0, which Postfix says of senders too; 5.2.1, which Gmail says of an
# account that gets too much; 5.4.4, which may be the relay's own trouble with routes.
_NOBODY_THERE: Final = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"})


def leads_nowhere(enhanced: str | None) -> bool:
    """Whether this enhanced code, said of a recipient, means that nobody will ever be there."""
    return enhanced in _NOBODY_THERE
