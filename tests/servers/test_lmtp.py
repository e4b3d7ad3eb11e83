"""LMTP with a store that others wrote: each recipient has its own end."""

import pytest

from smtp_transport import ErrorKind, SmtpError, render
from tests.servers.dovecot import FULL, KEPT
from tests.servers.standing import found

LONG = "many words\n" * 200


def test_each_recipient_has_its_own_end_in_every_mode(client_of, email, real_dovecot, way):
    """RFC 2033 section 4.2."""
    mixed = email(KEPT[0], FULL, "nobody@example.org", KEPT[1], text_body=LONG)
    emails = [email(KEPT[0]), mixed, email(FULL, text_body=LONG), email("nobody@example.org"), email(KEPT[2])]
    client = client_of(real_dovecot, protocol="lmtp", **way)
    first, some, full, nobody, last = client.send_batch(emails).results
    assert first.is_complete_success
    assert last.is_complete_success
    assert some.accepted == (KEPT[0], KEPT[1])
    assert [(one.address, one.code) for one in some.rejected] == [(FULL, 552), ("nobody@example.org", 550)]
    assert isinstance(full, SmtpError)
    assert full.code == 552
    assert (nobody.kind, nobody.code) == (ErrorKind.INVALID_RECIPIENT_ADDRESS, 550)
    arrived = found(real_dovecot, [each.message_id for each in (emails[0], mixed, emails[4])])
    reached = [mail.recipients[0] for mail in arrived if mail.message_id == mixed.message_id]
    assert sorted(reached) == [KEPT[0], KEPT[1]]
    sent = {each.message_id: render(each, eight_bit=True).data for each in emails}
    assert all(mail.as_sent == sent[mail.message_id] for mail in arrived)


@pytest.mark.parametrize("road", ["tcp", "unix"])
def test_a_batch_arrives_once_each_and_in_order(client_of, email, real_dovecot, road):
    """RFC 2033."""
    told = {"unix_socket": real_dovecot.socket} if road == "unix" else {}
    emails = [email(KEPT[0], KEPT[1], subject=f"Mail {number}", text_body=f"{number}\n.\n") for number in range(60)]
    client = client_of(real_dovecot, protocol="lmtp", **told)
    assert all(result.is_complete_success for result in client.send_batch(emails).results)
    assert client.connection_info().capabilities.chunking
    arrived = found(real_dovecot, [each.message_id for each in emails])
    for mailbox in KEPT[:2]:
        mine = [mail for mail in arrived if mail.recipients == (mailbox,)]
        assert [mail.message_id for mail in mine] == [each.message_id for each in emails]
        assert [mail.as_sent for mail in mine] == [render(each, eight_bit=True).data for each in emails]
