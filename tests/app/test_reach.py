"""What may be fetched is decided on parsed values, never on text, and no odd spelling gets around it."""

from __future__ import annotations

import ipaddress
import os
import string

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ssrfguard import BlockedAddressError, Target

from app.problems import ProblemError
from app.reach import METADATA, check, policy_of
from app.settings import ApiSettings
from pipeline.errors import SettingsError

SETTINGS = ApiSettings()
fuzz = settings(deadline=None, derandomize=True, max_examples=int(os.environ.get("FUZZ", "300")))
HOSTS = st.one_of(
    st.sampled_from(
        ["img.example.com", "localhost", "bücher.example", "xn--bcher-kva.example", "a_b.example", ""]
    ),
    st.ip_addresses().map(lambda a: f"[{a}]" if a.version == 6 else str(a)),
    st.text(alphabet=string.ascii_letters + string.digits + ".-_%@:[]\\#?&。①ß­", max_size=30),
    st.text(max_size=20),
)
URLS = st.one_of(
    st.builds(
        lambda scheme, slashes, user, host, port, path: f"{scheme}:{slashes}{user}{host}{port}{path}",
        st.sampled_from(["http", "https", "HTTP", "hTTps", "file", "ftp", "", " http", "http+unix"]),
        st.sampled_from(["//", "/", "", "///", "\\\\", "/\\"]),
        st.sampled_from(["", "", "", "@", "user@", "127.0.0.1@", ":@"]),
        HOSTS,
        st.sampled_from(["", "", "", ":", ":80", ":443", ":0", ":080", ":22", ":٨٠", ":8_0", ":+80"]),
        st.one_of(st.just("/a.jpg"), st.text(max_size=20)),
    ),
    st.text(max_size=60),
)


def decided(url: str) -> tuple[httpx.URL, Target] | ProblemError:
    """Give what a check finds, or its refusal."""
    try:
        return check(url, SETTINGS)
    except ProblemError as problem:
        return problem


def spellings(address: ipaddress.IPv4Address) -> list[str]:
    """Write an IPv4 address in the ways that some resolver or library reads."""
    number, parts = int(address), address.packed
    dotted = [
        ".".join(map(str, parts)),
        ".".join(f"0x{part:x}" for part in parts),
        ".".join(f"0{part:o}" for part in parts),
        f"{parts[0]}.{int.from_bytes(parts[1:])}",
        f"{parts[0]}.{parts[1]}.{int.from_bytes(parts[2:])}",
        str(number),
        hex(number),
        f"0{number:o}",
        f"{address}.",
        str(address).translate(str.maketrans("0123456789.", "０１２３４５６７８９。")),
    ]
    tail = f"{parts[0]:02x}{parts[1]:02x}:{parts[2]:02x}{parts[3]:02x}"
    wrapped = [f"[{prefix}{tail}]" for prefix in ("::ffff:", "::", "::ffff:0:", "64:ff9b::", "64:ff9b:1::")]
    return dotted + wrapped + [f"[2002:{tail}::1]", f"[2001:0:{tail}::]"]


@fuzz
@given(URLS)
@example("http://127.0.0.1\\@img.example.com/")
@example("http://img.example.com:80:80/")
@example("https://img.example.com/#@127.0.0.1")
def test_any_text_is_refused_or_read_alike(url: str) -> None:
    """Whatever is given, the answer is a 422 or an origin on which the client and the policy agree."""
    came = decided(url)
    if isinstance(came, ProblemError):
        assert came.status_code == 422
        assert came.code in {"bad-url", "address-not-allowed"}
        assert came.detail
        return
    read, origin = came
    assert read.scheme in {"http", "https"}
    assert not read.userinfo
    sent = httpx.Request("GET", read)
    assert sent.url.raw_host.decode() == origin.host
    assert (sent.url.port or {"http": 80, "https": 443}[sent.url.scheme]) == origin.port
    assert origin.port in {80, 443}
    assert not any(byte <= 0x20 or byte == 0x7F for byte in sent.url.raw_path + sent.headers["host"].encode())
    if origin.address is not None:
        assert origin.address.is_global


@fuzz
@given(st.ip_addresses(v=4), st.integers(0))
@example(ipaddress.ip_address("168.63.129.16"), 0)
def test_no_spelling_of_a_private_address_passes(address: ipaddress.IPv4Address, seed: int) -> None:
    """An address that is not public is refused in every notation; a public one passes in its own only."""
    written = spellings(address)
    chosen = written[seed % len(written)]
    plain = chosen == str(address) or not chosen.isascii()
    came = decided(f"http://{chosen}/")
    if isinstance(came, ProblemError):
        assert came.status_code == 422
    else:
        assert plain
        assert came[1].address == address
        assert address.is_global


@fuzz
@given(st.ip_addresses())
def test_the_policy_is_never_more_generous_than_the_standard_library(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """What is allowed is global unicast; what is refused though global is special or carries an IPv4 address."""
    if policy_of(SETTINGS).permits_address(address):
        assert address.is_global
        assert not address.is_multicast
        assert ipaddress.ip_network(address) not in METADATA


@pytest.mark.parametrize("network", METADATA, ids=str)
def test_metadata_services_need_to_be_named_themselves(network: ipaddress.IPv4Network) -> None:
    """A wide allowed network does not open a metadata service; its own address does."""
    address = network.network_address
    wide = ApiSettings(allowed_networks=(ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")))
    with pytest.raises(BlockedAddressError):
        policy_of(wide).check_address(address)
    policy_of(ApiSettings(allowed_networks=(network,))).check_address(address)


def test_a_private_name_is_not_given_away() -> None:
    """The refusal does not tell where a name points: that would map the network for whoever asks."""
    with pytest.raises(ProblemError) as caught:
        check("http://192.168.7.9/", SETTINGS)
    assert "192" not in caught.value.detail


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("IMAGE_API_ALLOWED_PORTS", "80,0"),
        ("IMAGE_API_ALLOWED_PORTS", "65536"),
        ("IMAGE_API_ALLOWED_PORTS", "http"),
        ("IMAGE_API_ALLOWED_PORTS", ","),
        ("IMAGE_API_FETCH_TIMEOUT", "nan"),
        ("IMAGE_API_FETCH_TIMEOUT", "inf"),
        ("IMAGE_API_ALLOWED_NETWORKS", "10.0.0.1/8"),
        ("IMAGE_API_ALLOWED_NETWORKS", "intranet"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(variable: str, value: str) -> None:
    """A wrong port or network stops the start, not the first fetch."""
    with pytest.raises(SettingsError, match=variable):
        ApiSettings.from_environ({variable: value})
