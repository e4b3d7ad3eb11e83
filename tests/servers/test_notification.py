"""Delivery status notifications (RFC 3461), asked for by us and made by Postfix."""

from smtp_transport import DeliveryOptions, Notify, Return, Transaction, envelope_of, render
from tests.servers.standing import wait_until


def test_a_notification_of_success_comes_back_with_what_it_was_asked_with(client_of, email, real_postfix, way):
    """RFC 3461 sections 4.1 to 4.4."""
    sent = email("you@example.org", from_="me@example.org", subject="Tell me")
    asked = DeliveryOptions(
        ret=Return.HEADERS,
        envelope_id="id+with=signs",
        notify=frozenset({Notify.SUCCESS}),
        original_recipients=("first@example.org",),
    )
    transaction = Transaction(envelope_of(sent), lambda eight_bit: render(sent, eight_bit=eight_bit), options=asked)
    ((_, receipt),) = client_of(real_postfix, **way).deliver([transaction])
    assert receipt.accepted == ("you@example.org",)
    told = []

    def is_told():
        told[:] = [
            mail.as_sent
            for mail in real_postfix.kept()
            if b"multipart/report" in mail.as_sent and sent.message_id.encode() in mail.as_sent
        ]
        return bool(told)

    wait_until(is_told)
    (notification,) = told
    assert b"Original-Envelope-Id: id+with=signs\r\n" in notification
    assert b"Original-Recipient: rfc822;first@example.org\r\n" in notification
    assert b"Action: delivered\r\n" in notification
    assert b"text/rfc822-headers" in notification
