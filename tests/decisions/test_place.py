"""Where a Redis is, as a URL says it; and what Celery is told of it."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailworker.broker import broker_options, queue
from mailworker.place import parse_place
from mailworker.reach import LazyCluster, connect
from mailworker.settings import RedisSettings, Settings, SettingsError


def options_of(**sections: dict[str, str]) -> dict:
    return broker_options(Settings(**sections))


@pytest.mark.parametrize(
    ("url", "kind", "hosts", "master", "plain"),
    [
        ("redis://h:1/2", "server", (), "", "redis://h:1/2"),
        ("redis:///3", "server", (), "", "redis:///3"),
        ("unix:///run/x.sock?db=1", "server", (), "", "unix:///run/x.sock?db=1"),
        ("sentinel://a,b:7/m?db=3", "sentinel", (("a", 26379), ("b", 7)), "m", "redis://a:26379?db=3"),
        ("sentinels://u:p%40@[::1]:5/my-m", "sentinel", (("[::1]", 5),), "my-m", "rediss://u:p%40@[::1]:5"),
        ("cluster://:pw@a:1,b:2", "cluster", (("a", 1), ("b", 2)), "", "redis://:pw@a:1"),
        ("clusters://a/0?ssl_ca_certs=/c", "cluster", (("a", 6379),), "", "rediss://a:6379?ssl_ca_certs=/c"),
    ],
)
def test_a_url_says_where_a_redis_is(url, kind, hosts, master, plain):
    place = parse_place(url)
    assert (place.kind, place.hosts, place.master, place.url) == (kind, hosts, master, plain)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://h", "must begin"),
        ("h:6379", "must begin"),
        ("sentinel://a:1", "master's name"),
        ("sentinel://a:1/m/x", "master's name"),
        ("sentinel://a:b/m", "hosts"),
        ("sentinel://a:99999/m", "hosts"),
        ("sentinel:///m", "hosts"),
        ("cluster://a,,b", "hosts"),
        ("cluster://a/1", "database 0"),
        ("redis://h:1/mail", "number of a database"),
        ("redis://h:99999/0", "hosts"),
        ("redis://h:port/0", "hosts"),
        ("redis://a,b/0", "number of a database"),
        ("redis://:p/w@h:1/0", "%2F"),
        ("rediss://:p#w@h:1/0", "%23"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused_with_its_cure(url, why):
    with pytest.raises(ValueError, match=why):
        parse_place(url)


@given(st.text(max_size=40))
def test_no_refusal_quotes_what_may_be_a_password(text):
    for scheme in ("sentinel", "cluster", ""):
        assert "hush" not in refusal_of(f"{scheme}://user:hush-{text}@{text}")


def refusal_of(url: str) -> str:
    try:
        parse_place(url)
    except ValueError as error:
        return str(error)
    return ""


def test_kombu_is_told_of_sentinels_in_its_own_way():
    options = options_of(redis={"url": "sentinel://u:p@a:1,b/post?db=3", "sentinel_password": "s"})
    assert options["broker_url"] == "sentinel://u:p@a:1/3;sentinel://u:p@b:26379/3"
    transport = options["broker_transport_options"]
    assert (transport["master_name"], transport["sentinel_kwargs"]["password"]) == ("post", "s")
    assert transport["ack_emulation"] is False


def test_kombu_is_told_of_tls_apart_from_the_url():
    options = options_of(redis={"url": "rediss://u:p@h:1/2?ssl_ca_certs=/c&ssl_cert_reqs=none&client_name=x"})
    assert options["broker_url"] == "rediss://u:p@h:1/2?client_name=x"
    assert options["broker_use_ssl"] == {"ssl_ca_certs": "/c", "ssl_cert_reqs": ssl.CERT_NONE}
    assert options_of(redis={"url": "rediss://h"})["broker_use_ssl"] == {"ssl_cert_reqs": ssl.CERT_REQUIRED}


def test_rabbitmq_gets_quorum_queues_and_no_options_of_redis():
    settings = Settings(broker={"url": "amqp://h//"})
    assert broker_options(settings) == {"broker_url": "amqp://h//"}
    assert queue("mail.bulk", "mail", settings).queue_arguments == {"x-queue-type": "quorum"}
    assert queue("mail.bulk", "mail", Settings()).queue_arguments is None


@pytest.mark.parametrize("broker", [{}, {"broker": {"url": "clusters://a,b"}}])
def test_a_cluster_cannot_be_the_broker(broker):
    with pytest.raises(ValueError, match="MAILWORKER_BROKER__URL"):
        Settings(redis={"url": "cluster://a"}, **broker)


def test_replicas_are_not_waited_for_in_a_cluster():
    with pytest.raises(ValueError, match="min-replicas-to-write"):
        RedisSettings(url="cluster://a", replicas=1)


@pytest.mark.parametrize("url", ["redis://h?nonsense=1", "sentinel://h/m?nonsense=1"])
def test_a_parameter_that_nobody_knows_is_found_before_the_first_call(url):
    with pytest.raises(SettingsError, match="MAILWORKER_REDIS__URL"):
        connect(RedisSettings(url=url), 1)


@pytest.mark.parametrize("url", ["redis://h", "sentinel://h/m", "cluster://h"])
def test_no_client_repeats_a_call_or_waits_for_ever(url):
    with connect(RedisSettings(url=url), 1.5) as client:
        told = client.get_connection_kwargs()
        assert (told["retry"].get_retries(), told["socket_timeout"], told["socket_connect_timeout"]) == (0, 1.5, 1.5)


def test_a_cluster_is_asked_for_its_nodes_at_the_first_call_only():
    client = connect(RedisSettings(url="cluster://127.0.0.1:1"), 0.5)
    assert isinstance(client, LazyCluster)
    with pytest.raises(Exception, match=r"(?i)cluster"):
        client.ping()
