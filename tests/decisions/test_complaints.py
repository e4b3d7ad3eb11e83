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
        (450, "4.2.1", "Peak SMTP relay limit exceeded for customer. This is a temporary error.", RATE),
        (450, "4.2.1", "Daily SMTP relay limit exceeded for user.", QUOTA),
        (421, "4.4.2", "Message submission rate for this client has exceeded the configured limit", RATE),
        (421, "4.3.2", "Connection rate limit exceeded.", RATE),
        (
            421,
            None,
            "RP-001 The mail server IP connecting to Outlook.com server has exceeded the rate limit allowed.",
            RATE,
        ),
        (421, None, "RP-003 The mail server IP has exceeded the connection limit allowed.", CONNECTIONS),
        (421, None, "RP-001 We have limits for how many messages can be sent per hour and per day.", RATE),
        (450, "4.7.1", "Error: too much mail from 192.0.2.1", RATE),
        (450, "4.7.1", "Error: too many recipients from 192.0.2.1", RATE),
        (421, "4.7.0", "mx.example.test Error: too many AUTH commands from 192.0.2.1", RATE),
        (421, "4.7.0", "Error: too many new TLS sessions from 192.0.2.1", RATE),
        (454, "4.7.0", "Too many login attempts, please try again later.", RATE),
        (421, "4.7.1", "Messages to example.test deferred due to excessive volume. Try again later", RATE),
        (421, "4.7.0", "[TS02] Messages from 192.0.2.1 temporarily deferred due to user complaints", RATE),
        (550, "5.4.6", "Unusual sending activity detected. Please try after sometime.", RATE),
        (550, None, "Too many messages. Try again in 92 seconds.", RATE),
        (
            421,
            "4.3.2",
            "The maximum number of concurrent connections per resource forest has exceeded a limit",
            CONNECTIONS,
        ),
        (421, None, "Connection refused, too many sessions from 192.0.2.1.", CONNECTIONS),
        (421, "4.3.2", "Too many open connections.", CONNECTIONS),
        (421, "4.4.5", "Service unavailable, concurrency limit reached", CONNECTIONS),
        (432, "4.3.2", "STOREDRV.ClientSubmit; sender thread limit exceeded; [Hostname=x.example.test]", CONNECTIONS),
        (554, "5.2.0", "STOREDRV.Submission.Exception:SubmissionQuotaExceededException", QUOTA),
        (
            554,
            "5.2.2",
            "mailbox full; STOREDRV.Submission.Exception:QuotaExceededException.MapiExceptionQuotaExceeded",
            QUOTA,
        ),
        (
            550,
            "5.1.90",
            "Your message can't be sent because you've reached your daily limit for message recipients",
            QUOTA,
        ),
        (550, None, "Domain example.test has exceeded the max emails per hour (150/150 (100%)) allowed.", QUOTA),
        (451, None, "Number messages per hour exceeded", QUOTA),
        (451, None, "Authentication failed: Maximum credits exceeded", QUOTA),
        # Of one recipient, one link or one mail.
        (450, "4.2.1", "The user you are trying to contact is receiving mail too quickly. Please resend later.", None),
        (450, "4.2.1", "The user you are trying to contact is receiving mail at a rate that prevents additional", None),
        (432, "4.3.2", "STOREDRV.Deliver; recipient thread limit exceeded", None),
        (421, None, "Max message per connection reached, closing transmission channel", None),
        (421, "4.7.0", "Too many messages for this session", None),
        (452, "4.5.3", "Your message has too many recipients. For more information regarding limits", None),
        (552, "5.2.2", "The mailbox is full, quota exceeded", None),
        (421, "4.5.1", "Too many errors, you have been temporarily blacklisted", None),
        (421, "4.4.5", "Server busy, try again later.", None),
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
