"""Webhooks go only to addresses of the public internet, and to the operator's own targets."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from typing import Any

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.clocks import Clock

from limner_dispatcher.webhooks.network import Names, NameUnresolved, Network, TargetRefused
from limner_shared.domain.webhook_targets import Targets, is_public, receiver_of
from limner_shared.domain.webhooks import BACKOFF_CAP_SECONDS, GIVE_UP_SECONDS, repeat_seconds
from limner_shared.errors import ConfigurationError, InvalidRequest
from limner_shared.threads import Supervisor

PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001::8b", "64:ff9b::101:101"]
REFUSED = {
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd00::1", "fc00::1"],
    "link-local and metadata": ["169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%2", "fd00:ec2::254"],
    "carrier-grade NAT": ["100.64.0.1", "100.127.255.255"],
    "unspecified and reserved": ["0.0.0.0", "0.1.2.3", "240.0.0.1", "255.255.255.255", "::"],  # noqa: S104
    "multicast": ["224.0.0.1", "239.1.1.1", "ff02::1", "ff0e::1"],
    "documentation and benchmarks": [
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "198.18.0.1",
        "2001:db8::1",
        "3fff::1",
    ],
    "v4-mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1", "64:ff9b:1::1.1.1.1"],
    "v4-compatible and translated": ["::7f00:1", "::10.0.0.1", "::ffff:0:127.0.0.1"],
    "6to4 and Teredo": ["2002:7f00:1::", "2002:a00:1::1", "2001:0:7f00:1::", "192.88.99.1"],
    "others": ["100::1", "fec0::1", "5f00::1", "192.0.0.1", "2001:10::1", "2001:20::1"],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: Any):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", [each for group in REFUSED.values() for each in group])
def test_every_other_address_is_refused(address: Any):
    assert not is_public(ipaddress.ip_address(address))
    assert not Targets().allows("name.example", ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_behind_every_translation(address: Any):
    public = is_public(address)
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        translated = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(address))
        assert is_public(translated) == public
    assert not (public and (address.is_private or address.is_loopback or address.is_link_local or address.is_multicast))


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/x",
        "ftp://shop.example",
        "https://",
        "shop.example/x",
        "//shop.example",
        "https://user:word@shop.example",
        "https://shop.example/#part",
        "https://shop.example:0",
        "https://shop.example:99999",
        "https://xn--/",
        "https://xn--a/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]:8443/x",
        "https://169.254.169.254/latest/meta-data",
        "https://[bad",
        "https://" + "a" * 3000 + ".example",
        "javascript:alert(1)",
        "",
    ],
)
def test_a_url_that_can_never_be_delivered_to_is_refused(url: str):
    with pytest.raises(InvalidRequest, match="webhook: "):
        Targets().check_url(url)


def test_a_good_url_is_accepted():
    assert Targets().check_url("https://shop.example/limner?a=b") == "https://shop.example/limner?a=b"
    assert Targets().check_url("https://1.1.1.1:8443/x") == "https://1.1.1.1:8443/x"


def test_the_operator_allows_names_addresses_and_networks():
    targets = Targets.parse(["hooks.internal", "10.1.0.0/16", "[::1]", "192.168.7.7"])
    assert targets.check_url("http://HOOKS.internal:9000/x")
    assert targets.check_url("http://10.1.2.3/x")
    assert targets.check_url("http://[::1]:80/x")
    assert targets.allows("hooks.internal", ipaddress.ip_address("172.16.0.1"))
    assert targets.allows("any.example", ipaddress.ip_address("10.1.2.3"))
    assert not targets.allows("any.example", ipaddress.ip_address("10.2.2.3"))
    for refused in ("http://10.2.0.1/", "http://shop.example/", "https://192.168.7.8/"):
        with pytest.raises(InvalidRequest):
            targets.check_url(refused)


@pytest.mark.parametrize("entry", ["http://x", "a b", "10.0.0.0/99", "user@host", "", "host:80"])
def test_an_entry_that_is_no_target_is_refused(entry: str):
    with pytest.raises(ConfigurationError, match="LIMNER_WEBHOOK_INTERNAL_TARGETS"):
        Targets.parse([entry])


def network_of(targets: Targets) -> Network:
    return Network(targets, Names(Supervisor().pool("names", 2)), 5)


def names(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let every name resolve to these addresses; returns the names that were asked for."""
    asked: list[str] = []

    def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        asked.append(host)
        return [(0, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["1.1.1.1", "10.0.0.1"], ["fe80::1%2"], ["::ffff:127.0.0.1"]])
def test_a_name_that_leads_to_an_internal_address_is_refused(monkeypatch: pytest.MonkeyPatch, addresses: Any):
    names(monkeypatch, *addresses)
    network, internal = network_of(Targets()), str(ipaddress.ip_address(addresses[-1]))
    with capture_logs() as logged, pytest.raises(TargetRefused, match="not of the public internet") as refused:
        network.connect_tcp("shop.example", 443)
    assert network.address is None
    assert internal not in str(refused.value), "the tenant reads this"
    assert [(line["host"], line["address"]) for line in logged] == [("shop.example", internal)]


def test_a_name_is_resolved_once_and_the_connection_goes_to_that_address(monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        real = socket.getaddrinfo
        asked: list[str] = []

        def rebinding(host: str, *arguments: Any, **options: Any) -> Any:
            asked.append(host)
            return real("127.0.0.1" if asked.count(host) == 1 else "127.0.0.2", *arguments, **options)

        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        network = network_of(Targets.parse(["127.0.0.1"]))
        network.connect_tcp("shop.example", port).close()
        assert asked.count("shop.example") == 1
        assert network.address == "127.0.0.1"


def test_the_second_address_is_tried_if_the_first_refuses_the_connection(monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        real = socket.getaddrinfo
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in ("127.0.0.9", "127.0.0.1")]

        def two_addresses(host: str, *more: Any, **options: Any) -> Any:
            return found if host == "two.example" else real(host, *more, **options)

        monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
        network = network_of(Targets.parse(["127.0.0.0/8"]))
        network.connect_tcp("two.example", port).close()
        assert network.address == "127.0.0.1"


def test_a_name_without_an_address_is_an_error_of_its_own():
    with pytest.raises(NameUnresolved):
        network_of(Targets()).connect_tcp("nothing.invalid", 443)


def test_nothing_is_connected_if_the_resolution_of_the_name_took_all_the_time(monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)

    def slow(_host: str, port: int, **_options: Any) -> Any:
        clock.now += 6
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    network = network_of(Targets.parse(["127.0.0.1"]))
    with pytest.raises(httpcore.ConnectTimeout, match="no time is left"):
        network.connect_tcp("slow.example", 443)
    assert network.address is None


def test_a_name_whose_server_does_not_answer_takes_only_the_time_of_its_delivery(monkeypatch: pytest.MonkeyPatch):
    answered, real = threading.Event(), socket.getaddrinfo

    def resolve(host: str, *more: Any, **options: Any) -> Any:
        if host == "silent.example":
            answered.wait(60)
        return real("127.0.0.1", *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    found = Names(Supervisor().pool("names", 2))
    try:
        with pytest.raises(NameUnresolved, match="within 0 s"):
            found.addresses("silent.example", 443, 0.05)
        assert found.addresses("shop.example", 443, 30) == [ipaddress.ip_address("127.0.0.1")], "on another thread"
    finally:
        answered.set()
        found.close()


def test_the_urls_of_one_origin_are_one_receiver_for_each_tenant():
    one = receiver_of("tenant_a", "https://shop.example/a?job=1")
    assert one == receiver_of("tenant_a", "https://shop.example:443/b")
    assert one != receiver_of("tenant_b", "https://shop.example/a")
    assert one != receiver_of("tenant_a", "https://shop.example:8443/a")
    assert len(receiver_of("t" * 40, "https://shop.example")) <= 80


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_repeats_back_off_with_full_jitter_and_a_cap(tries: int, fraction: float):
    assert 0 <= repeat_seconds(tries, fraction) <= BACKOFF_CAP_SECONDS
    assert repeat_seconds(tries, 1.0) <= repeat_seconds(tries + 1, 1.0)


def test_a_delivery_is_tried_dozens_of_times_in_three_days():
    mean, tries = 0.0, 0
    while mean < GIVE_UP_SECONDS:
        tries += 1
        mean += repeat_seconds(tries, 0.5)
    assert 20 < tries < 60
