import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import smtp_transport
from smtp_transport import errors


def test_every_public_name_is_there_and_told_once():
    assert smtp_transport.__all__ == sorted(set(smtp_transport.__all__))
    assert set(smtp_transport._HOME) == set(smtp_transport.__all__)
    assert dir(smtp_transport) == smtp_transport.__all__
    for name in smtp_transport.__all__:
        assert getattr(smtp_transport, name).__name__ == name or name in {
            "Permit",
            "SaslExchange",
        }  # other names for types


def test_every_error_is_public():
    tree = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.SmtpError)]
    assert {e.__name__ for e in tree} <= set(smtp_transport.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = smtp_transport.Nonsense


def loaded_by(code: str) -> set[str]:
    told = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(told.stdout))


def test_importing_the_package_loads_nothing_until_it_is_used():
    loaded = loaded_by("import smtp_transport")
    assert not {"pydantic", "ssl", "socket", "smtp_transport.errors"} & loaded


def test_building_an_email_opens_no_way_to_the_wire():
    loaded = loaded_by("from smtp_transport import Email, SmtpError")
    assert not {"ssl", "smtp_transport.client", "smtp_transport.stream", "smtp_transport.pool"} & loaded


def names_in_typed_dict(name):
    """Give the fields of a class that only type checkers see."""
    source = (Path(smtp_transport.__file__).parent / HOMES[name]).read_text(encoding="utf-8")
    (found,) = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef) and node.name == name)
    return {field.target.id for field in found.body if isinstance(field, ast.AnnAssign)}


HOMES = {
    "EmailFields": "message/email.py",
    "OAuth2ClientFields": "oauth/endpoint.py",
    "OAuth2TokenFields": "credentials.py",
    "RateLimitConfigFields": "resilience_config.py",
    "SmtpConfigFields": "config.py",
    "TlsConfigFields": "tls_config.py",
}


@pytest.mark.parametrize("name", HOMES)
def test_a_type_checker_hears_of_every_field_that_may_be_given(name):
    fields = getattr(smtp_transport, name.removesuffix("Fields")).model_fields
    others = {choice for field in fields.values() for choice in getattr(field.validation_alias, "choices", ())}
    assert names_in_typed_dict(name) == {*fields, *others} - {"from"}  # a word of the language
