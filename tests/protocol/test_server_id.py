"""The server's own id of a mail, as the usual servers and services word their final replies."""

import pytest

from smtp_transport import Phase, Receipt, RecipientReceipt, Reply


def told(text: str) -> str | None:
    return Receipt(
        (RecipientReceipt("you@example.org", Phase.DOT, Reply(250, "2.0.0", tuple(text.split("\n")))),)
    ).server_id


@pytest.mark.parametrize(
    ("server", "text", "server_id"),
    [
        ("Postfix", "Ok: queued as 4XyZ12", "4XyZ12"),
        ("a filter before Postfix", "from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 9F1B4", "9F1B4"),
        ("Exim", "OK id=1mHHm6-0006gO-Nx", "1mHHm6-0006gO-Nx"),
        ("Sendmail", "0AB1C2D3004567 Message accepted for delivery", "0AB1C2D3004567"),
        ("OpenSMTPD", "5b6a7c8d Message accepted for delivery", "5b6a7c8d"),
        ("qmail", "ok 1700000000 qp 4711", "4711"),
        ("Haraka", "Message Queued (6E2B0E2C-1A2B.1)", "6E2B0E2C-1A2B.1"),
        ("Dovecot", "<you@example.org> mP4oBkfB+WEMSwAAWWMQlQ Saved", "mP4oBkfB+WEMSwAAWWMQlQ"),
        ("Exchange Online", "<a@b.example> [InternalId=2506158415, Hostname=X] Queued mail for delivery", "2506158415"),
        ("Gmail", "OK  1700000000 a12-20020ac8.42 - gsmtp", "a12-20020ac8.42"),
        ("SES", "Ok 0102018b0c0d-0a1b2c3d-1234-000000", "0102018b0c0d-0a1b2c3d-1234-000000"),
        ("Brevo", "OK: queued as <202611011200.1234567@relay.example>", "202611011200.1234567"),
        ("aiosmtpd", "Message accepted for delivery", None),
        ("others", "OK", None),
        ("others", "Ok thank-you", None),
        ("others", "Okay Message accepted, number 42", None),
        ("others", "Great success", None),
        ("others", "Mail queued for delivery", None),
        ("a server that cannot stop", "ok 1\nok 2", None),
    ],
)
def test_the_servers_id_is_found_in_its_words(server: str, text: str, server_id: str | None) -> None:
    assert told(text) == server_id, server
