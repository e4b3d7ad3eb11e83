"""A relay's complaints are understood in the words that providers use."""

import pytest

from mailworker.policy.complaints import Complaint, complaint_of

RATE, CONNECTIONS, QUOTA = Complaint.RATE, Complaint.CONNECTIONS, Complaint.QUOTA


@pytest.mark.parametrize(
    ("code", "enhanced", "text", "complaint"),
    [
        (454, None, "Throttling failure: Maximum sending rate exceeded.", RATE),
        (454, None, "Throttling failure: Daily message quota exceeded.", QUOTA),
        (432, "4.3.2", "Concurrent connections limit exceeded. Visit https://example.test", CONNECTIONS),
        (421, "4.7.0", "Error: too many connections from 192.0.2.1", CONNECTIONS),
        (421, None, "Too many concurrent SMTP connections from this IP address; please try again later.", CONNECTIONS),
        (421, "4.7.28", "Our system has detected an unusual rate of unsolicited mail", RATE),
        (421, "4.7.0", "[TSS04] Messages from 192.0.2.1 temporarily deferred", RATE),
        (450, "4.7.1", "Error: too much mail; slow down", RATE),
        (450, "4.2.1", "The user is receiving mail at a rate that is too fast: rate limit exceeded", RATE),
        (451, "4.7.650", "The mail server has been temporarily rate limited", RATE),
        (550, "5.4.5", "Daily user sending limit exceeded. For more information on limits go to", QUOTA),
        (550, "5.1.1", "no such user", None),
        (451, "4.7.1", "Greylisting in action, please come back later", None),
        (452, "4.2.2", "The email account that you tried to reach is over quota", None),
        (452, "4.3.1", "Insufficient system storage", None),
        (452, "4.5.3", "Too many recipients", None),
        (554, "5.7.1", "Message rejected: rate of complaints", None),
        (421, "4.3.2", "Service shutting down", None),
    ],
)
def test_a_complaint_is_what_a_provider_means_by_it(code, enhanced, text, complaint):
    assert complaint_of(code, enhanced, text) is complaint
