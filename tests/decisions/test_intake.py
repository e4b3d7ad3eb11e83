"""The door: what is refused, and what is fixed for good when a mail passes."""

import base64
import datetime as dt
from email import message_from_bytes
from email.message import EmailMessage

import msgpack
import pytest
from pydantic import ValidationError

from mailworker.intake import Intake, Limits, UnreadableError, open_envelope, open_mail
from mailworker.options import Options, RefusedError
from mailworker.record import Claim, NewMail
from mailworker.sealing import KeyRing
from smtp_transport.envelope import Envelope
from smtp_transport.errors import MessageError
from smtp_transport.message import Attachment, Email, EncodedFiles, FileAttachment, Priority, RawEmail, unpack

KEYS = KeyRing.parse(["k1:" + base64.b64encode(b"k" * 32).decode()])
NOW = dt.datetime.now(dt.UTC)


def email(**fields) -> Email:
    return Email(
        **{"from_": "shop@example.com", "to": "ann@example.org", "subject": "Hi", "text_body": "Hi.", **fields}
    )


def intake(keys=KEYS, **limits) -> Intake:
    return Intake(
        Limits(**{"message_bytes": 100_000, "recipients": 3, "attachments": 2, **limits}), keys, {"default": 60_000}
    )


def admit(what, **options) -> NewMail:
    (mail,) = intake().admit([what], [Options(**options)])
    return mail


def claim(mail: NewMail) -> Claim:
    return Claim(mail.id, 1, 1, mail.payload, mail.envelope, "p" * mail.recipients, "", 0, 5, 0, None)


def test_message_id_and_date_are_fixed_when_the_mail_is_accepted():
    mail = admit(email())
    first, second = open_mail(claim(mail), KEYS), open_mail(claim(mail), KEYS)
    assert first.email.message_id == second.email.message_id
    assert first.email.message_id.rstrip(">").endswith("@example.com")
    assert first.email.date is not None


def test_a_message_id_of_the_authors_own_is_kept():
    mail = admit(email(message_id="<order-17@example.com>"))
    assert open_mail(claim(mail), KEYS).email.message_id == "<order-17@example.com>"
    assert open_envelope(mail.id, mail.envelope, KEYS)[2] == "<order-17@example.com>"


def test_a_claim_opens_as_the_email_that_was_accepted():
    original = email(
        to=["ann@example.org", "bob@example.org"],
        bcc="eve@example.org",
        attachments=[Attachment(filename="bill.pdf", content_type="application/pdf", data=b"\x00\xff" * 50)],
    )
    mail = admit(original)
    opened = open_mail(claim(mail), KEYS)
    assert opened.envelope.recipients == ("ann@example.org", "bob@example.org", "eve@example.org")
    assert opened.email.attachments[0].data == b"\x00\xff" * 50
    transaction = opened.transaction_to([2])
    assert transaction.envelope.recipients == ("eve@example.org",)
    assert b"eve@example.org" not in transaction.render(False).data


def test_a_mail_is_sealed_before_anything_else_sees_it():
    mail = admit(email(subject="marker-subject", text_body="marker-body", to="marker@example.org"))
    assert b"marker" not in mail.payload + mail.envelope
    with pytest.raises(UnreadableError) as caught:
        open_mail(claim(mail), KeyRing())
    assert caught.value.may_heal


@pytest.mark.parametrize(
    "payload", [b"MW\x00", b"MW\x00\xc1", b"MW\x00" + msgpack.packb({"v": 1}), b"MW\x00" + msgpack.packb(7)]
)
def test_a_payload_that_is_none_is_told_apart(payload):
    mail = admit(email())
    broken = Claim(mail.id, 1, 1, payload, mail.envelope, "p", "", 0, 5, 0, None)
    with pytest.raises(UnreadableError):
        open_mail(broken, KEYS)


def test_limits_are_told_with_the_setting_that_would_change_them():
    four = [f"a{n}@example.org" for n in range(4)]
    with pytest.raises(RefusedError, match=r"limits\.recipients"):
        intake().admit([email(to=four)], [Options()])
    three = [Attachment(filename=f"{n}.txt", content_type="text/plain", data=b"x") for n in range(3)]
    with pytest.raises(RefusedError, match=r"limits\.attachments"):
        intake().admit([email(attachments=three)], [Options()])


def test_the_size_limit_counts_the_message_as_it_will_be_sent():
    """A 60 KB file is 80 KB on the wire."""
    file = Attachment(filename="a.bin", content_type="application/octet-stream", data=bytes(60_000))
    with pytest.raises(RefusedError, match=r"limits\.message_bytes"):
        intake(message_bytes=80_000).admit([email(attachments=[file])], [Options()])
    assert intake(message_bytes=90_000).admit([email(attachments=[file])], [Options()])


def test_an_email_of_a_batch_that_is_refused_refuses_the_batch():
    with pytest.raises(ValidationError):
        intake().admit([email(), {"from": "a@example.com", "to": "nobody"}], [Options(), Options()])


def test_mails_made_together_keep_their_order():
    mails = intake().admit([email()] * 50, [Options()] * 50)
    assert [m.id for m in mails] == sorted(m.id for m in mails)
    assert len({open_mail(claim(m), KEYS).email.message_id for m in mails}) == 50


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"countdown": -1}, "countdown"),
        ({"countdown": float("nan")}, "countdown"),
        ({"countdown": 5, "eta": NOW}, "countdown and eta"),
        ({"eta": dt.datetime(2030, 1, 1)}, "eta"),  # noqa: DTZ001 - that is the mistake
        ({"expires": 0}, "expires"),
        ({"expires": NOW - dt.timedelta(days=1)}, "expires"),
        ({"expires": float("nan")}, "expires"),
        ({"expires": float("inf")}, "expires"),
        ({"priority": 10}, "priority"),
        ({"priority": "high"}, "priority"),
        ({"priority": 3.0}, "priority"),
        ({"priority": True}, "priority"),
        ({"priority": Priority.HIGH}, "priority"),
        ({"eta": "2030-01-01T00:00:00Z"}, "eta"),
        ({"eta": dt.timedelta(hours=1)}, "eta"),
        ({"eta": dt.datetime.max.replace(tzinfo=dt.UTC)}, "eta"),
        ({"expires": "tomorrow"}, "expires"),
        ({"expires": dt.date(2030, 1, 1)}, "expires"),
        ({"countdown": "5"}, "countdown"),
        ({"countdown": dt.timedelta(seconds=5)}, "countdown"),
        ({"idempotency_key": b"x"}, "idempotency_key"),
        ({"lane": 5}, "lane"),
        ({"tenant": ""}, "tenant"),
        ({"tenant": "ann@example.org"}, "tenant"),
        ({"tenant": "a" * 65}, "tenant"),
        ({"tenant": "shop 17"}, "tenant"),
        ({"tenant": 17}, "tenant"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 1001}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"max_attempts": 2.0}, "max_attempts"),
        ({"max_age": 0}, "max_age"),
        ({"max_age": float("nan")}, "max_age"),
        ({"max_age": "1h"}, "max_age"),
        ({"max_age": 5, "expires": 5}, "expires and max_age"),
        ({"in_doubt": "drop"}, "in_doubt"),
        ({"in_doubt": True}, "in_doubt"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "x" * 1000}, "idempotency_key"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_its_name(options, name):
    with pytest.raises(RefusedError, match=name):
        Options(**options)


def test_an_eta_long_past_means_at_once():
    assert admit(email(), eta=dt.datetime(1960, 1, 1, tzinfo=dt.UTC)).due_ms == 0


def test_what_is_neither_an_email_nor_a_dict_is_refused():
    with pytest.raises(RefusedError, match="must be an Email or a dict"):
        admit(42)


def test_a_lane_gives_its_age_limit_to_mails_that_brought_none():
    assert admit(email()).max_age_ms == 60_000
    assert admit(email(), max_age=5).max_age_ms == 5000
    for mail in (admit(email(), expires=5), admit(email(), expires=NOW + dt.timedelta(hours=1))):
        assert mail.max_age_ms is None
    assert admit(email(), expires=5).expires_in_ms == 5000
    moment = NOW + dt.timedelta(hours=1)
    assert admit(email(), expires=moment).expires_ms == int(moment.timestamp() * 1000)


def test_a_mail_may_bring_its_own_cap_and_its_own_policy():
    mail = admit(email(), max_attempts=3, in_doubt="hold")
    assert (mail.max_attempts, mail.in_doubt) == (3, "hold")
    assert (admit(email()).max_attempts, admit(email()).in_doubt) == (None, None)


def test_a_tenant_has_the_share_that_its_lane_gives_it():
    door = Intake(Limits(100_000, 3, 2), KEYS, {"default": 60_000, "bulk": 60_000}, {"default": {"big": 5}})
    said = [Options(tenant="big"), Options(tenant="small"), Options(), Options(tenant="big", lane="bulk")]
    mails = [door.admit([email()], [option])[0] for option in said]
    assert [(mail.tenant, mail.share) for mail in mails] == [("big", 5), ("small", 1), ("", 1), ("big", 1)]


def test_an_idempotency_key_reaches_the_ledger_as_a_digest_only():
    mail = admit(email(), idempotency_key="ann@example.org-17")
    assert len(mail.key) == 64
    assert mail.key == admit(email(), idempotency_key="ann@example.org-17").key


def stdlib_message(**headers):
    message = EmailMessage()
    for name, value in {"From": "shop@example.com", "To": "ann@example.org", "Subject": "Grüße", **headers}.items():
        message[name] = value
    message.set_content("Hällo.\n", cte="8bit")
    return message


@pytest.mark.parametrize("form", [lambda m: m, lambda m: m.as_bytes(), RawEmail.of], ids=["message", "bytes", "raw"])
def test_a_message_of_another_program_is_kept_as_it_is(form):
    mail = admit(form(stdlib_message(Bcc="eve@example.org")))
    opened = open_mail(claim(mail), KEYS)
    assert opened.envelope == Envelope("shop@example.com", ("ann@example.org", "eve@example.org"))
    content = opened.transaction_to([1]).render(True)
    assert opened.transaction_to([1]).envelope.recipients == ("eve@example.org",)
    assert b"eve" not in content.data
    assert message_from_bytes(content.data).get_payload(decode=True) == "Hällo.\r\n".encode()
    assert opened.transaction_to([0]).render(False).data.isascii()


def test_a_message_of_another_program_gets_its_names_once():
    mail = admit(stdlib_message().as_bytes())
    first, second = (open_mail(claim(mail), KEYS).transaction_to([0]).render(True).data for _ in range(2))
    assert first == second
    message_id = open_envelope(mail.id, mail.envelope, KEYS)[2]
    assert message_from_bytes(first)["Message-ID"] == message_id
    assert message_id.endswith("@example.com>")
    assert "Date" in message_from_bytes(first)
    own = admit(stdlib_message(**{"Message-ID": "<own@x>"}))
    assert open_envelope(own.id, own.envelope, KEYS)[2] == "<own@x>"


def test_a_message_of_another_program_is_sealed_and_limited_as_any_other():
    with pytest.raises(RefusedError, match=r"limits\.message_bytes"):
        intake(message_bytes=5000).admit([stdlib_message().as_bytes() + b"x\r\n" * 3000], [Options()])
    with pytest.raises(RefusedError, match=r"limits\.recipients"):
        admit(stdlib_message(Cc="a@x.example, b@x.example, c@x.example"))
    with pytest.raises(UnreadableError) as caught:
        open_mail(claim(admit(stdlib_message())), KeyRing())
    assert caught.value.may_heal


def test_an_older_version_leaves_it_to_one_that_can_read_it():
    """What `unpack` does not know it refuses, and the mail waits."""
    mail = admit(stdlib_message())
    packed = msgpack.unpackb(KEYS.open(mail.payload, mail.id, "payload"))
    with pytest.raises(MessageError):
        unpack(packed)
    packed["later"] = 1
    payload = KEYS.seal(msgpack.packb(packed), mail.id, "payload")
    newer = Claim(mail.id, 1, 1, payload, mail.envelope, "p", "", 0, 5, 0, None)
    with pytest.raises(UnreadableError) as caught:
        open_mail(newer, KEYS)
    assert caught.value.may_heal


@pytest.mark.parametrize("message", [b"", b"no message", b"From: a@b.example\r\n\r\n"])
def test_bytes_that_are_no_message_are_refused_at_the_door(message):
    with pytest.raises(RefusedError, match=r"^email: "):
        admit(message)


def test_a_file_on_disk_is_read_when_the_mail_is_accepted(tmp_path):
    path = tmp_path / "bill.txt"
    path.write_bytes(b"x" * 1000)
    file = FileAttachment.from_path(path)
    mail = admit(email(attachments=[file]))
    path.unlink()
    assert open_mail(claim(mail), KEYS).email.attachments[0].data == b"x" * 1000
    with pytest.raises(RefusedError, match="cannot read the file"):
        admit(email(attachments=[file]))


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.bin"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(RefusedError, match=r"limits\.message_bytes"):
        admit(email(attachments=[FileAttachment.from_path(path)]))


def test_a_notice_that_nobody_may_answer_still_has_a_name():
    mail = admit(email(envelope_sender=""))
    sender, _, message_id = open_envelope(mail.id, mail.envelope, KEYS)
    assert (sender, message_id.rpartition("@")[2]) == ("", "example.com>")


def test_a_file_that_repeats_is_encoded_once_for_a_worker():
    file = Attachment(filename="a.bin", content_type="application/octet-stream", data=bytes(5000))
    cache = EncodedFiles(1_000_000)
    opened = [open_mail(claim(admit(email(attachments=[file]))), KEYS) for _ in range(2)]
    bodies = [mail.transaction_to([0], cache).render(True).data for mail in opened]
    assert "with 1 files" in repr(cache)
    assert bodies[0].count(b"AAAA") == bodies[1].count(b"AAAA") > 1000
