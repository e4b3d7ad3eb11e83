import base64
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.message import Attachment, Email, EmailBuilder, InlineImage


def test_a_file_is_attached_with_its_name_its_bytes_and_a_guessed_type(tmp_path: Path) -> None:
    path = tmp_path / "Übersicht 2026.pdf"
    path.write_bytes(b"%PDF-1.7")
    attachment = Attachment.from_file(path)
    assert attachment == Attachment("Übersicht 2026.pdf", "application/pdf", b"%PDF-1.7")
    assert Attachment.from_file(path, "application/x-mine").content_type == "application/x-mine"


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.txt", "text/plain"),
        ("a.PNG", "image/png"),
        ("a.tar.gz", "application/gzip"),
        ("a.svgz", "application/gzip"),
        ("noending", "application/octet-stream"),
        ("a.never-heard-of", "application/octet-stream"),
    ],
)
def test_the_type_comes_from_the_ending(tmp_path: Path, name: str, content_type: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert Attachment.from_file(tmp_path / name).content_type == content_type


def test_a_file_that_cannot_be_read_is_an_attachment_error_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(MessageError) as caught:
        Attachment.from_file(tmp_path / "secret-name.pdf")
    assert caught.value.kind is ErrorKind.ATTACHMENT_ERROR
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert "secret-name" not in str(caught.value)


@given(st.binary())
def test_text_for_data_is_base64_and_bytes_are_bytes(data: bytes) -> None:
    fields = {"filename": "a.bin", "content_type": "application/octet-stream"}
    read = TypeAdapter(Attachment).validate_python({**fields, "data": base64.b64encode(data).decode()})
    assert read.data == TypeAdapter(Attachment).validate_python({**fields, "data": data}).data == data
    assert Attachment(**fields, data=bytearray(data)).data == data
    assert Attachment(**fields, data=memoryview(data)).data == data


@pytest.mark.parametrize(
    "make",
    [
        lambda text: Attachment("a.txt", "text/plain", text),
        lambda text: Attachment("a.txt", content_type="text/plain", data=text),
        lambda text: Attachment(filename="a.txt", content_type="text/plain", data=text),
        lambda text: InlineImage("a", "image/png", text),
        lambda text: EmailBuilder().attach_bytes("a.txt", "text/plain", text),
        lambda text: EmailBuilder().inline_image("a", "image/png", text),
    ],
)
def test_text_that_happens_to_be_base64_is_no_data_of_a_program(make: Callable[[str], object]) -> None:
    with pytest.raises((ValidationError, TypeError), match="data: is text; give bytes"):
        make("text")


@pytest.mark.parametrize("data", ["plain text!", "YQ", "YQ==\n", "ÿ", 5, None])
def test_data_that_is_neither_is_refused_with_its_field_and_without_itself(data: object) -> None:
    with pytest.raises(ValidationError) as caught:
        Attachment("a.bin", "application/octet-stream", data)
    assert "data" in str(caught.value)
    assert not isinstance(data, str) or data not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a\nb.txt", "a\tb.txt", "a\0.txt", "a\u2028.txt", "\ud800.txt", "x" * 256])
def test_a_bad_file_name_is_refused(name: str) -> None:
    """NF-SEC-04."""
    with pytest.raises(ValidationError, match="filename"):
        Attachment(name, "text/plain", b"")


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text",
        "text/",
        "/plain",
        "text/plain\r\nX-A: b",
        "text/plain; charset",
        'text/plain; name="a\nb"',
        'text/plain; name="a',
        "text/plain; charset=ü",
        "text/plain;\tcharset=utf-8",
        "multipart/mixed",
        "Multipart/Mixed; boundary=a",
        "text/" + "x" * 300,
    ],
)
def test_a_bad_media_type_is_refused(content_type: str) -> None:
    """NF-SEC-04."""
    with pytest.raises(ValidationError, match="content_type"):
        Attachment("a", content_type, b"")


@pytest.mark.parametrize("content_id", ["", "a b", "a\r\nb", "<a", "a>b", "a@b@c", ".a", "ü", "x" * 201, '"a"'])
def test_a_bad_content_id_is_refused(content_id: str) -> None:
    """NF-SEC-04."""
    with pytest.raises(ValidationError, match="content_id"):
        InlineImage(content_id, "image/png", b"")


def test_a_content_id_is_kept_without_brackets_and_referred_to_by_url() -> None:
    image = InlineImage("<logo.1@shop.example>", "image/png", b"")
    assert image.content_id == "logo.1@shop.example"
    assert image.cid_reference() == "cid:logo.1@shop.example"


@given(st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,30}", fullmatch=True))
def test_a_reference_decodes_to_the_content_id(content_id: str) -> None:
    """RFC 2392 section 2."""
    reference = InlineImage(content_id, "image/png", b"").cid_reference()
    assert unquote(reference.removeprefix("cid:")) == content_id


def test_no_repr_shows_data_or_names() -> None:
    attachment, image = (
        Attachment("secret.pdf", "application/pdf", b"hidden"),
        InlineImage("cid1", "image/png", b"hide"),
    )
    assert repr(attachment) == "<Attachment application/pdf, 6 bytes>"
    assert repr(image) == "<InlineImage image/png, 4 bytes>"
    email = Email(from_="a@b", to="c@d", attachments=attachment, html_body="x", inline_images=image)
    assert "hid" not in repr(email.attachments) + repr(email.inline_images)
