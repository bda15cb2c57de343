"""Which URLs may be asked, and which addresses their hosts may mean."""

from ipaddress import ip_address, ip_network

import pytest
from fpan.serve.api.errors import BadRequest, Forbidden, Impossible
from fpan.serve.config import Settings
from fpan.serve.fetch.guard import MAX_URL, Guard, refusal
from fpan.serve.fetch.host_pattern import Hosts
from hypothesis import given
from hypothesis import strategies as st

ANY = Guard([Hosts.parse("*"), Hosts.parse("http://*")])


def guard(*patterns, answers=(), private=()):
    async def resolve(host, port):
        if answers is None:
            raise OSError("unknown")
        return answers

    return Guard([Hosts.parse(p) for p in patterns], [ip_network(n) for n in private], resolve)


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("images.example.com", "https://images.example.com/a.jpg?x=1#y"),
        ("images.example.com", "https://IMAGES.example.COM:443/"),
        ("*.example.com", "https://a.b.example.com/"),
        ("images.example.com:8443", "https://images.example.com:8443/"),
        ("http://files.local", "http://files.local/"),
        ("http://files.local:8080", "http://files.local:8080/a"),
        ("*", "https://anything.example/"),
        ("bücher.example".encode("idna").decode(), "https://bücher.example/"),
        ("93.184.216.34", "https://93.184.216.34/"),
        ("[2606:2800:220:1::1]", "https://[2606:2800:220:1::1]/"),
    ],
)
def test_what_is_named_may_be_asked(pattern, url):
    assert guard(pattern).check(url).host


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("images.example.com", "https://example.com/"),
        ("images.example.com", "https://images.example.com.evil.test/"),
        ("images.example.com", "http://images.example.com/"),
        ("images.example.com", "https://images.example.com:8443/"),
        ("images.example.com", "https://images.example.com:22/"),
        ("images.example.com:8443", "https://images.example.com/"),
        ("http://files.local", "https://files.local/"),
        ("*.example.com", "https://example.com/"),
        ("*.example.com", "https://evilexample.com/"),
        ("*.example.com", "https://.example.com.evil.test/".replace("//.", "//a.")),
        ("*", "http://anything.example/"),
    ],
)
def test_what_is_not_named_is_refused_with_the_way_out(pattern, url):
    with pytest.raises(Forbidden, match="whoever runs it may allow that host"):
        guard(pattern).check(url)


def test_nothing_is_asked_unless_hosts_are_named():
    assert Settings().url_hosts == ()
    with pytest.raises(Forbidden, match="send the bytes themselves, or whoever"):
        Guard.of_pictures(Settings()).check("https://example.com/")
    with pytest.raises(Forbidden, match=r"does not connect to https://example.com: whoever"):
        Guard(()).check("https://example.com/")


@pytest.mark.parametrize(
    "url",
    [
        "https://user@images.example.com/",
        "https://user:password@images.example.com/",
        "https://images.example.com@127.0.0.1/",
        "https://images.example.com:443@169.254.169.254/",
        "ftp://images.example.com/",
        "file:///etc/passwd",
        "gopher://images.example.com/",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "//images.example.com/",
        "/etc/passwd",
        "https://",
        "https:///a",
        "",
        "https://images.example.com./",
        "https://images..example.com/",
        "https://-a.example.com/",
        "https://a b.example.com/",
        "https://images.example.com\\@127.0.0.1/",
        "https://images.example.com%00.evil.test/",
        "https://images.example.com\n.evil.test/",
        "https://[::1%25lo]/",
        "https://[::ffff:127.0.0.1/",
        "https://images.example.com:99999/",
        f"https://images.example.com/{'a' * MAX_URL}",
    ],
)
def test_odd_urls_are_none(url):
    with pytest.raises((BadRequest, Forbidden)):
        ANY.check(url)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0x7f.1",
        "127.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "127.0.1",
        "0",
        "0x",
        "1.2.3.4.5",
        "256.0.0.1",
        "①②⑦.⓪.⓪.①",
    ],
)
async def test_addresses_in_unusual_forms_are_refused(host):
    try:
        checked = ANY.check(f"https://{host}/")
    except BadRequest:
        return
    # Some are made plain by the rules of names, and are then judged as what they mean.
    with pytest.raises(Forbidden):
        await ANY.addresses(checked.host, 443)


NOT_PUBLIC = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "100.64.0.1", "169.254.0.1", "169.254.169.254", "169.254.170.2", "192.0.0.1", "192.0.0.192", "192.0.2.1",
    "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "168.63.129.16", "100.100.100.200",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "fe80::1", "fe80::1%lo",
    "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "ff0e::1", "100::1", "2001:db8::1", "2001::1", "2001:10::1",
    "2002:7f00:1::", "2002:808:808::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::a00:1", "64:ff9b:1::808:808",
    "4000::1", "5f00::1",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
async def test_addresses_that_are_nobodys_business_are_refused(address):
    assert refusal(ip_address(address)) is not None
    with pytest.raises(Forbidden, match="does not connect to it") as told:
        await guard("*", answers=[address]).addresses("images.example.com", 443)
    assert address not in str(told.value)
    bracketed = f"[{address}]" if ":" in address else address
    with pytest.raises((Forbidden, BadRequest)):
        await ANY.addresses(ANY.check(f"https://{bracketed}/").host, 443)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001::1", "64:ff9b::808:808"]
)
async def test_public_addresses_pass(address):
    assert refusal(ip_address(address)) is None
    assert await guard("*", answers=[address]).addresses("images.example.com", 443) == [address]


@given(st.ip_addresses(v=4))
def test_nothing_in_the_clothes_of_ipv6_passes_that_ipv4_refuses(address):
    mapped, nat64 = ip_address(f"::ffff:{address}"), ip_address(f"64:ff9b::{address}")
    assert refusal(mapped) is not None
    assert (refusal(nat64) is None) == (refusal(address) is None)


async def test_one_bad_address_among_good_ones_is_enough():
    with pytest.raises(Forbidden):
        await guard("*", answers=["8.8.8.8", "10.0.0.1"]).addresses("images.example.com", 443)


async def test_hosts_that_are_not_known_are_told():
    for answers in (None, ()):
        with pytest.raises(Impossible, match=r"images\.example\.com"):
            await guard("*", answers=answers).addresses("images.example.com", 443)


async def test_private_networks_may_be_let_in_but_never_where_machines_are_told_their_secrets():
    lax = ["0.0.0.0/0", "::/0"]
    assert refusal(ip_address("10.20.0.1"), [ip_network("10.20.0.0/16")]) is None
    assert refusal(ip_address("10.21.0.1"), [ip_network("10.20.0.0/16")]) is not None
    assert refusal(ip_address("::1"), [ip_network(n) for n in lax]) is None
    for secret in ("169.254.169.254", "fd00:ec2::254", "168.63.129.16", "fe80::1", "64:ff9b::a9fe:a9fe"):
        with pytest.raises(Forbidden, match="secrets"):
            await guard("*", answers=[secret], private=lax).addresses("images.example.com", 443)


@pytest.mark.parametrize(
    "pattern", ["", "a b", "https://", "https://user@host", "host:port", "*.*.com", "ftp://host", "ho*st"]
)
def test_patterns_that_mean_nothing_are_refused_when_the_server_starts(pattern):
    with pytest.raises(ValueError, match="is no host"):
        Hosts.parse(pattern)


@pytest.mark.parametrize("url", ["https://a.example/\ud800", "https://\ud800.example/", "https://xn--\ud83d/"])
def test_half_a_character_is_no_url(url):
    with pytest.raises(BadRequest):
        ANY.check(url)
