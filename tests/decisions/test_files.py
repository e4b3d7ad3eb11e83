"""Files taken out of a mail are put back as they were, and named by what they hold."""

import base64
import hashlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailworker.files import FileGoneError, FilesApart, Shelf, put_back, seal_file
from mailworker.sealing import KeyRing, SealError
from smtp_transport.message import Attachment, Email, InlineImage, pack, unpack

KEYS = KeyRing.parse(["k1:" + base64.b64encode(b"k" * 32).decode()])
LEAST = 100


def email(*contents: bytes, images: tuple[bytes, ...] = ()) -> Email:
    return Email(
        from_="shop@example.com",
        to="ann@example.org",
        subject="Hi",
        html_body="<p>Hi.</p>",
        attachments=[Attachment(f"{n}.bin", "application/octet-stream", data) for n, data in enumerate(contents)],
        inline_images=[InlineImage(f"i{n}@x", "image/png", data) for n, data in enumerate(images)],
    )


CONTENTS = st.lists(st.one_of(st.binary(max_size=30), st.sampled_from((b"a" * 100, b"b" * 99, b"c" * 300))), max_size=4)


@given(CONTENTS, CONTENTS)
def test_what_was_taken_out_is_put_back(contents, images):
    whole = email(*contents, images=tuple(images))
    packed = pack(whole)
    files = FilesApart(LEAST, KEYS).take_out(packed)
    assert {file.content for file in files} == {c for c in (*contents, *images) if len(c) >= LEAST}
    assert not any(file.content in msgpack.packb(packed) for file in files)
    again = msgpack.unpackb(msgpack.packb(packed))
    put_back(again, {file.name: file.content for file in files}.__getitem__)
    assert unpack(again) == whole


def test_a_file_has_the_same_name_in_every_mail_and_process():
    one = FilesApart(LEAST, KEYS).take_out(pack(email(b"x" * 100, b"y" * 100)))
    two = FilesApart(LEAST, KEYS).take_out(pack(email(b"y" * 100)))
    assert one[1] == two[0]
    assert one[0].name != one[1].name


def test_under_a_key_the_name_tells_nothing_about_the_file():
    content = b"x" * 100
    (file,) = FilesApart(LEAST, KEYS).take_out(pack(email(content)))
    assert file.name != hashlib.sha256(content).hexdigest()
    other = KeyRing.parse(["k1:" + base64.b64encode(b"o" * 32).decode()])
    assert FilesApart(LEAST, other).take_out(pack(email(content)))[0].name != file.name
    assert content not in seal_file(file, KEYS)


def test_small_files_stay_and_so_do_all_if_so_wished():
    assert FilesApart(LEAST, KEYS).take_out(pack(email(b"x" * 99))) == ()
    assert FilesApart(0, KEYS).take_out(pack(email(b"x" * 5000))) == ()


def shelf(stored: dict[str, bytes], reads: list[str], room: int = 1000) -> Shelf:
    def read(lane: str, name: str) -> bytes | None:
        reads.append(name)
        return stored.get(name)

    return Shelf(read, KEYS, room)


def test_a_file_is_read_once_while_there_is_room_for_it():
    files = FilesApart(LEAST, KEYS).take_out(pack(email(*(bytes([n]) * 200 for n in range(9)))))
    stored = {file.name: seal_file(file, KEYS) for file in files}
    reads: list[str] = []
    kept = shelf(stored, reads)
    for _ in range(3):
        assert kept.get("default", files[0].name) == files[0].content
    assert reads == [files[0].name]
    for file in files[1:6]:
        kept.get("default", file.name)
    kept.get("default", files[0].name)
    assert reads.count(files[0].name) == 2
    assert "1000 bytes" in repr(kept)


def test_a_file_too_large_for_the_shelf_is_read_each_time():
    (file,) = FilesApart(LEAST, KEYS).take_out(pack(email(b"x" * 300)))
    reads: list[str] = []
    kept = shelf({file.name: seal_file(file, KEYS)}, reads)
    for _ in range(2):
        kept.get("default", file.name)
    assert len(reads) == 2


def test_a_file_that_is_gone_or_sealed_otherwise_is_told():
    (file,) = FilesApart(LEAST, KEYS).take_out(pack(email(b"x" * 100)))
    with pytest.raises(FileGoneError):
        shelf({}, []).get("default", file.name)
    other = KeyRing.parse(["k2:" + base64.b64encode(b"o" * 32).decode()])
    with pytest.raises(SealError, match="k2") as caught:
        shelf({file.name: seal_file(file, other)}, []).get("default", file.name)
    assert caught.value.is_key_missing
