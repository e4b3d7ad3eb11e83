from mailworker.relay import smtp_config
from mailworker.relay_settings import RelaySettings


def test_limits_breaker_and_retries_are_left_to_the_fleet():
    config = smtp_config("main", RelaySettings(host="smtp.example.com"))
    assert (config.rate_limit, config.circuit_breaker, config.retry) == (None, None, None)
