"""Signatures that an independent verifier, dkimpy, accepts; and that break when the message is changed."""

import itertools
import pickle
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from smtp_transport.dkim import DkimSigner, relaxed_body
from smtp_transport.envelope import Content, StreamedContent
from smtp_transport.errors import MessageError
from smtp_transport.message import Attachment, Email, FileAttachment, RawEmail, Unsubscribe, render
from tests.dkim_keys import ED_KEY, RSA_KEY, record_of

NOW = 1_700_000_000
PLAIN = Content(b"From: a@example.com\r\nSubject: s\r\n\r\nbody\r\n")

both_keys = pytest.mark.parametrize("key", [RSA_KEY, ED_KEY], ids=["rsa", "ed25519"])


def verified(data: bytes, key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bool:
    asked: list[bytes] = []

    def dns(name: bytes, timeout: int = 5) -> bytes:
        asked.append(name)
        return record_of(key)

    good = dkim.verify(data, dnsfunc=dns)
    assert asked in ([], [b"sel._domainkey.example.com."])
    return bool(good)


def an_email(**fields: object) -> Email:
    return Email.model_validate(
        {
            "from_": "Jörg Müller <a@example.com>",
            "to": [f"recipient-{n}@some-long-domain.example" for n in range(12)],
            "subject": "Grüße " * 30,
            "message_id": "m@example.com",
            "date": datetime(2026, 11, 21, tzinfo=UTC),
            **fields,
        }
    )


EMAILS = {
    "7bit": an_email(text_body="plain \t text  \n\n  with   spaces \n\n\n"),
    "8bit": an_email(text_body="grüße \n"),
    "quoted-printable": an_email(text_body="a " * 600 + "é"),
    "empty": an_email(text_body=""),
    "blank lines": an_email(text_body="\n\n\n"),
    "multipart": an_email(
        text_body="t", html_body="<p>ü</p>", attachments=Attachment("a.pdf", "application/pdf", bytes(range(256)) * 9)
    ),
    "list mail": an_email(unsubscribe=Unsubscribe("https://example.com/u", one_click=True)),
    "utf8 headers": an_email(to="jörg@example.com", text_body="x"),
}


@both_keys
@pytest.mark.parametrize("eight_bit", [True, False])
@pytest.mark.parametrize("name", EMAILS)
def test_a_signature_verifies(key: rsa.RSAPrivateKey, name: str, eight_bit: bool) -> None:  # noqa: FBT001 - a parameter
    content = render(EMAILS[name], eight_bit=eight_bit)
    signed = DkimSigner("example.com", "sel", key).sign(content, NOW)
    assert verified(signed.data, key)
    assert signed.data.endswith(content.data)
    assert (signed.eight_bit, signed.utf8_headers) == (content.eight_bit, content.utf8_headers)


@both_keys
@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"plain", b"plane"),
        lambda data: data.replace(b"From: ", b"From: x"),
        lambda data: b"From: evil@example.com\r\n" + data,
        lambda data: b"Subject: other\r\n" + data,
        lambda data: data.replace(b"\r\n\r\n", b"\r\nFrom: evil@example.com\r\n\r\n", 1),
        lambda data: data + b"more\r\n",
    ],
    ids=["body", "from", "second from before", "second subject", "second from behind", "longer"],
)
def test_a_changed_message_does_not_verify(key: rsa.RSAPrivateKey, change: Callable[[bytes], bytes]) -> None:
    signer = DkimSigner("example.com", "sel", key, oversigned=["from", "subject"])
    signed = signer.sign(render(EMAILS["7bit"], eight_bit=True), NOW).data
    assert verified(signed, key)
    assert change(signed) != signed
    assert not verified(change(signed), key)


def test_from_is_signed_once_more_than_it_is_there() -> None:
    """Oversigning: RFC 6376 section 8.15."""
    (names,) = re.findall(rb"\sh=([^;]*);", DkimSigner("example.com", "sel", RSA_KEY).sign(PLAIN, None).data)
    assert re.sub(rb"\s", b"", names).split(b":") == [b"from", b"from", b"subject"]


def test_which_headers_are_signed_can_be_chosen() -> None:
    signer = DkimSigner("example.com", "sel", ED_KEY, headers=["From", "X-A"], oversigned=["x-b"])
    signed = signer.sign(Content(b"X-A: 1\r\nX-A: 2\r\n" + PLAIN.data), NOW).data
    assert b"h=from:x-a:x-a:x-b;" in signed
    assert verified(signed, ED_KEY)
    assert not verified(signed.replace(b"X-A: 1", b"X-A: 9"), ED_KEY)


def test_one_name_needs_no_list() -> None:
    signed = DkimSigner("example.com", "sel", ED_KEY, headers="From", oversigned="Subject").sign(PLAIN, NOW).data
    assert b"h=from:subject:subject;" in signed
    assert verified(signed, ED_KEY)


@both_keys
def test_the_same_time_makes_the_same_signature(key: rsa.RSAPrivateKey) -> None:
    signer = DkimSigner("example.com", "sel", key)
    assert signer.sign(PLAIN, NOW).data == signer.sign(PLAIN, NOW).data
    assert b" t=1700000000;" in signer.sign(PLAIN, NOW).data
    assert b" t=" not in signer.sign(PLAIN, None).data
    assert max(map(len, signer.sign(PLAIN, NOW).data.split(b"\r\n"))) <= 78


@both_keys
def test_a_streamed_file_is_signed_without_being_kept(key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(range(256)) * 3000)
    email = an_email(text_body="t", attachments=FileAttachment.from_path(tmp_path / "a.bin"))
    signed = DkimSigner("example.com", "sel", key).sign(render(email, eight_bit=True), NOW)
    assert isinstance(signed, StreamedContent)
    assert len(signed.data) == signed.size
    assert verified(signed.data, key)


@both_keys
def test_a_message_of_another_program_is_signed_too(key: rsa.RSAPrivateKey) -> None:
    head = b"From:a@example.com\r\nTo:b@example.com\r\nSubject:\r\n folded\r\n\tagain\r\n\r\n"
    raw = RawEmail.of(head + b"\r\n \r\nx\t y \r\n")
    assert verified(DkimSigner("example.com", "sel", key).sign(raw.render(eight_bit=True), NOW).data, key)


lines = st.lists(st.sampled_from([b"", b" ", b"\t ", b"a", b"a  b ", b" .", b"x\t\ty"]), max_size=12)


@given(lines, st.lists(st.integers(0, 60), max_size=6))
def test_a_body_in_pieces_is_hashed_as_the_whole(body: list[bytes], places: list[int]) -> None:
    """RFC 6376 section 3.4.4, compared with dkimpy's own form."""
    whole = b"".join(line + b"\r\n" for line in body)
    bounds = [0, *sorted(place % (len(whole) + 1) for place in places), len(whole)]
    pieces = (whole[start:end] for start, end in itertools.pairwise(bounds))
    assert b"".join(relaxed_body(pieces)) == dkim.canonicalization.Relaxed.canonicalize_body(whole)


def pem(key: object) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined]


@both_keys
def test_a_key_may_be_pem(key: rsa.RSAPrivateKey) -> None:
    for text in (pem(key), pem(key).decode()):
        signer = DkimSigner("example.com", "sel", text)
        assert signer.sign(PLAIN, NOW).data == DkimSigner("example.com", "sel", key).sign(PLAIN, NOW).data
    assert load_pem_private_key(pem(key), None)


def wrong_signers() -> Iterator[dict[str, object]]:
    good = {"domain": "example.com", "selector": "sel", "key": RSA_KEY}
    yield good | {"domain": "bücher.example"}
    yield good | {"domain": "a; t=1"}
    yield good | {"selector": "s\r\nX: y"}
    yield good | {"selector": ""}
    yield good | {"key": "secret"}
    yield good | {"key": ec.generate_private_key(ec.SECP256R1())}
    yield good | {"key": RSA_KEY.public_key()}
    yield good | {"headers": ["subject"], "oversigned": []}
    yield good | {"headers": ["from", "a:b"]}
    yield good | {"headers": "subject", "oversigned": ()}
    yield good | {"headers": ["from", "a\r\nb"]}


@pytest.mark.parametrize("fields", list(wrong_signers()))
def test_what_can_be_no_signer_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"DNS|key|headers") as caught:
        DkimSigner(**fields)  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


def test_a_message_without_an_author_is_not_signed() -> None:
    with pytest.raises(MessageError):
        DkimSigner("example.com", "sel", ED_KEY).sign(Content(b"To: b@example.com\r\n\r\n"), NOW)


def test_a_key_is_neither_shown_nor_pickled() -> None:
    """NF-SEC-01."""
    signer = DkimSigner("example.com", "sel", pem(ED_KEY))
    assert repr(signer) == "<DkimSigner ed25519-sha256 sel._domainkey.example.com>"
    with pytest.raises(TypeError, match="private key"):
        pickle.dumps(signer)


FIELDS = [
    *(b"Subject: x\r\n", b"Subject:\r\n", b"subject: y  z\r\n", b"To: a@b.c,\r\n\tb@c.d\r\n", b"Cc: \r\n c@d.e\r\n"),
    *(b"X-A: 1\r\n", b"Message-ID:<a@b>\r\n", "Subject: grüße \r\n".encode(), b"DKIM-Signature: v=1; a=x\r\n"),
    *(b"References: <a@b>\r\n  <c@d>\r\n \t<e@f>\r\n", b"From: x@y.z\r\n", b"List-Unsubscribe: <https://x>\r\n"),
]
PIECES = [b"\r\n", b"\r\n\r\n", b"a", b" ", b"\t", b".", b"\r\n.\r\n", "ü".encode(), b"x" * 990, b"two  words\t\r\n"]


@given(
    st.lists(st.sampled_from(FIELDS), max_size=8),
    st.lists(st.sampled_from(FIELDS), max_size=3),
    st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join),
)
def test_whatever_is_written_verifies(before: list[bytes], behind: list[bytes], body: bytes) -> None:
    ended = body if not body or body.endswith(b"\r\n") else body + b"\r\n"
    data = b"".join([*before, b"From: a@example.com\r\n", *behind, b"\r\n", ended])
    assert verified(DkimSigner("example.com", "sel", ED_KEY).sign(Content(data), NOW).data, ED_KEY)
