"""Sealed blobs open for the right key, mail and field, and for nothing else."""

import base64
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailworker.sealing import KeyRing, SealError

OLD = "2025:" + base64.b64encode(b"o" * 32).decode()
NEW = "2026:" + base64.b64encode(b"n" * 32).decode()


@given(st.binary(max_size=2000))
def test_what_was_sealed_opens_again(data):
    ring = KeyRing.parse([NEW])
    blob = ring.seal(data, "default-1", "payload")
    assert ring.open(blob, "default-1", "payload") == data


def test_sealing_hides_the_data_and_never_repeats_itself():
    ring = KeyRing.parse([NEW])
    one, two = ring.seal(b"marker", "m", "payload"), ring.seal(b"marker", "m", "payload")
    assert b"marker" not in one
    assert one != two


def test_old_keys_read_while_the_first_key_writes():
    blob = KeyRing.parse([OLD]).seal(b"text", "m", "payload")
    rotated = KeyRing.parse([NEW, OLD])
    assert rotated.open(blob, "m", "payload") == b"text"
    assert KeyRing.parse([NEW]).open(rotated.seal(b"text", "m", "payload"), "m", "payload") == b"text"


def test_mails_from_before_there_were_keys_stay_readable():
    assert KeyRing.parse([NEW]).open(KeyRing().seal(b"text", "m", "payload"), "m", "payload") == b"text"


@pytest.mark.parametrize(("mail", "field"), [("other", "payload"), ("m", "envelope")])
def test_a_blob_cannot_be_moved_to_another_mail_or_field(mail, field):
    ring = KeyRing.parse([NEW])
    with pytest.raises(SealError):
        ring.open(ring.seal(b"text", "m", "payload"), mail, field)


def test_a_missing_key_is_told_by_its_id():
    blob = KeyRing.parse([OLD]).seal(b"text", "m", "payload")
    with pytest.raises(SealError, match="2025") as caught:
        KeyRing.parse([NEW]).open(blob, "m", "payload")
    assert caught.value.is_key_missing
    assert pickle.loads(pickle.dumps(caught.value)).is_key_missing  # noqa: S301 - our own pickle


@given(st.binary(max_size=200))
def test_garbage_opens_as_nothing_else_than_an_error(blob):
    try:
        KeyRing.parse([NEW]).open(blob, "m", "payload")
    except SealError:
        return
    assert blob.startswith(b"MW\x00")


@pytest.mark.parametrize("text", ["nokey", "a:%%%", "a:" + base64.b64encode(b"short").decode(), ":" + NEW[5:]])
def test_a_key_that_is_none_is_refused_without_showing_it(text):
    with pytest.raises(ValueError, match="sealing key") as caught:
        KeyRing.parse([text])
    assert text.partition(":")[2] not in str(caught.value) or not text.partition(":")[2]


def test_a_ring_never_shows_its_keys():
    assert "n" * 8 not in repr(KeyRing.parse([NEW])) + str(vars(KeyRing.parse([NEW])))
