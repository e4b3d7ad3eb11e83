"""Models of what people hand over: no way around their checks, and no error that tells what it was given."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError, field_validator

from smtp_transport import Address, Attachment, Credentials, Email, InlineImage, PoolConfig, SmtpConfig, TlsConfig
from smtp_transport.fields import Frozen, without_input

SECRET = "kilo-mike-9"
EMAIL = {"from_": "me@example.com", "to": "you@example.org"}
REFUSED = {
    "line end": lambda: Credentials.password("ann", f"{SECRET}\n"),
    "nested": lambda: SmtpConfig(host="h", credentials={"username": "ann", "secret": f"{SECRET}\n"}),
    "rule of the whole": lambda: SmtpConfig(host="h", tls="none", credentials={"username": "ann", "secret": SECRET}),
    "unknown name": lambda: SmtpConfig(host="h", pasword=SECRET),
    "wrong type": lambda: SmtpConfig(host="h", port=SECRET, tls=SECRET),
    "missing": lambda: Credentials(kind="token", secret=[SECRET]),
    "assignment": lambda: setattr(Credentials.password("ann", "x"), "secret", SECRET),
    "copy": lambda: Credentials.password("ann", "x").model_copy(update={"secret": f"{SECRET}\n"}),
    "subject": lambda: Email(**EMAIL, subject=f"{SECRET}\n"),
    "nobody": lambda: Email(from_="me@example.com", subject=SECRET, text_body=SECRET),
    "recipient": lambda: Email(from_="me@example.com", to=[f"{SECRET}@"]),
    "address": lambda: Address(f"{SECRET}@"),
    "attachment": lambda: Attachment(f"{SECRET}\n", "text/plain", b""),
    "image": lambda: InlineImage(f"{SECRET} ", "image/png", b""),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_no_error_holds_what_was_refused(make):
    """NF-SEC-01."""
    with pytest.raises(ValidationError) as refused:
        make()
    error = refused.value
    for shown in (str(error), repr(error), error.json(), str(error.errors()), str(pickle.dumps(error))):
        assert SECRET not in shown
    assert all(one["msg"] for one in error.errors())
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own bytes


class Open(BaseModel):
    number: int = 0
    nested: tuple[int, ...] = ()
    word: str = ""

    @field_validator("word")
    @classmethod
    def _fits(cls, value):
        if value:
            raise ValueError("{no} good")
        return value


@given(st.dictionaries(st.sampled_from(["number", "nested"]), st.text()))
def test_an_error_without_its_input_tells_all_the_rest(given_):
    with pytest.raises(ValidationError) as refused:
        Open(word="x", **given_)
    silent = without_input(refused.value)
    assert silent.title == refused.value.title
    assert _told(silent) == _told(refused.value)


def _told(error):
    return [(one["type"], one["loc"], one["msg"], one.get("ctx", {}).keys()) for one in error.errors()]


@pytest.mark.parametrize(
    ("made", "wrong"),
    [
        (SmtpConfig(host="127.0.0.1", tls="none"), {"host": "smtp.example.com"}),
        (SmtpConfig(host="smtp.example.com"), {"port": 0}),
        (SmtpConfig(host="smtp.example.com"), {"hots": "a"}),
        (TlsConfig(), {"min_version": "TLSv1"}),
        (PoolConfig(), {"max_connections": 0}),
        (PoolConfig(max_connections=2), {"min_idle": 3}),
        (Credentials.password("ann", "x"), {"username": "ann\r\nRSET"}),
    ],
)
def test_a_copy_with_changes_is_checked_as_if_it_were_made(made: Frozen, wrong):
    """NF-SEC-02."""
    with pytest.raises(ValidationError):
        made.model_copy(update=wrong)


def test_a_copy_with_changes_keeps_the_rest():
    config = SmtpConfig(host="smtp.example.com", io_timeout=5, credentials=Credentials.password("ann", "x"))
    changed = config.model_copy(update={"port": 2525})
    assert (changed.port, changed.io_timeout, changed.credentials) == (2525, 5, config.credentials)
    assert config.model_copy() == config
    assert config.model_copy(deep=True) == config
    assert config.model_copy(update={"port": 465}).tls is SmtpConfig(host="smtp.example.com", port=465).tls


HOSTILE_SCOPES = ["\r\nMAIL FROM:<x>", "\n", "\0", " ", "", "a b", "[", "%", "é"]


@pytest.mark.parametrize("scope", HOSTILE_SCOPES)
def test_a_scope_of_an_address_is_a_plain_word(scope):
    for make in (
        lambda host: SmtpConfig(host=host),
        lambda host: SmtpConfig(host=f"[{host}]"),
        lambda host: TlsConfig(server_name=host),
        lambda host: SmtpConfig(host="h", local_hostname=f"[IPv6:{host}]"),
    ):
        with pytest.raises(ValidationError):
            make(f"fe80::1%{scope}")


def test_a_link_local_server_is_named_with_its_scope_but_nobody_greets_with_one():
    assert SmtpConfig(host="fe80::1%eth0.7").host == "fe80::1%eth0.7"
    assert SmtpConfig(host="h", local_hostname="[IPv6:fe80::1]").local_hostname == "[IPv6:fe80::1]"
    for wrong in ("[IPv6:fe80::1%eth0]", "[192.0.2.1%eth0]"):
        with pytest.raises(ValidationError):
            SmtpConfig(host="h", local_hostname=wrong)


@given(st.text(alphabet=st.characters(max_codepoint=0x20), min_size=1), st.integers(0, 12))
def test_no_control_character_passes_into_a_name(control, place):
    for name in ("mx.example.com", "192.0.2.1", "2001:db8::1%eth0", "[2001:db8::1]"):
        wrong = name[:place] + control + name[place:]
        for model, fields in (
            (SmtpConfig, {"host": wrong}),
            (TlsConfig, {"server_name": wrong}),
            (SmtpConfig, {"host": "h", "local_hostname": wrong}),
        ):
            with pytest.raises(ValidationError):
                model(**fields)
