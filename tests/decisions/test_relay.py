import pytest

from mailworker.relay import smtp_config
from mailworker.relay_settings import RelaySettings
from mailworker.settings import SettingsError

TOKENS = {
    "oauth_provider": "custom",
    "username": "a@b.example",
    "oauth_client_id": "i",
    "oauth_client_secret": "hush",
    "oauth_token_endpoint": "https://tokens.example/t",
}


def test_limits_breaker_and_retries_are_left_to_the_fleet():
    config = smtp_config("main", RelaySettings(host="smtp.example.com"))
    assert (config.rate_limit, config.circuit_breaker, config.retry) == (None, None, None)


@pytest.mark.parametrize(
    ("settings", "place", "cure"),
    [
        ({"host": "smtp.example.com:587"}, "RELAYS__MAIN__HOST (or relays.main.host", "bare host name"),
        ({"host": "smtp.example.com", "ca_certs": "/nowhere.pem"}, "(or relays.main.ca_certs", "PEM"),
        ({"host": "smtp.example.com", "tls": "none"}, "(or relays.main in the file)", "allow_plaintext"),
        ({"host": "h", "username": "u", "password": "hush\n"}, "(or relays.main.password", "line end"),
        ({"host": "h", "username": "u", "password": "hush", "auth_method": "DIGEST"}, "auth_method", "PLAIN"),
        ({"host": "h", **TOKENS, "oauth_token_endpoint": "http://t.example"}, "main.oauth_token_endpoint", "https://"),
        ({"host": "h", **TOKENS, "oauth_provider": "microsoft", "oauth_tenant": "a b"}, "oauth_tenant", "domain"),
    ],
)
def test_what_the_client_cannot_use_is_told_by_the_name_of_the_setting(settings, place, cure):
    with pytest.raises(SettingsError) as caught:
        smtp_config("main", RelaySettings(**settings))
    text = str(caught.value)
    assert place in text
    assert cure in text
    assert not any(word in text for word in ("pydantic", "SmtpConfig", "Value error", "hush"))
