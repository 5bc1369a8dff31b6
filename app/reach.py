"""What a fetch may reach: public addresses, and networks that the operator named.

`ssrfguard` parses, resolves once and connects to the address it checked. This adds what its table does not
have, and refuses every special-purpose block whole, also those that IANA marks reachable: no web server is there.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import replace

import httpx
from ssrfguard import (
    DEFAULT_DENIED,
    AddressTable,
    Block,
    BlockedAddressError,
    BlockedURLError,
    Policy,
    Reach,
    SSRFGuardError,
    Target,
)

from app.problems import ProblemError
from app.settings import ApiSettings, Network

METADATA = tuple(
    map(
        ipaddress.ip_network,
        (
            "169.254.169.254",  # most clouds
            "169.254.169.253",  # AWS, resolver
            "169.254.170.2",  # AWS, tasks
            "169.254.170.23",  # AWS, pods
            "100.100.100.200",  # Alibaba
            "168.63.129.16",  # Azure, WireServer: in a public block
            "192.0.0.192",  # Oracle
            "fd00:ec2::254",  # AWS
            "fd00:ec2::253",
            "fd00:ec2::23",
            "fd20:ce::254",  # Google
            "fd00:42::42",  # Scaleway
            "fe80::a9fe:a9fe",  # OpenStack
        ),
    )
)
"""Where clouds give credentials away: reachable only when an allowed network names that very address."""

BEYOND = ("168.63.129.16/32", "::ffff:0:0:0/96", "::/3", "4000::/2", "8000::/1")
"""Denied besides IANA's registries: WireServer, SIIT (RFC 7915), and all IPv6 that is not global unicast (RFC 4291)."""

_NUMBER = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)\.?", re.ASCII | re.IGNORECASE)


def check(url: str, settings: ApiSettings) -> tuple[httpx.URL, Target]:
    """Read a URL and decide what can be decided without the network; raises the 422 that says what is wrong.

    The URL is read by two parsers, the client's and the policy's; they must see the same origin.
    """
    policy = policy_of(settings)
    try:
        policy.check_url(url)
        read = httpx.URL(url)
        target = policy.check_url(str(read))
    except (httpx.InvalidURL, ValueError) as error:
        raise ProblemError(422, "bad-url", f"The URL cannot be read: {_short(error)}.") from error
    except SSRFGuardError as error:
        raise refusal(error) from error
    origin = (
        read.scheme,
        read.raw_host.decode("ascii"),
        read.port or {"http": 80, "https": 443}[read.scheme],
    )
    if origin != (target.scheme, target.host, target.port):
        raise ProblemError(422, "bad-url", "The URL can be read in more than one way.")
    if not target.is_literal_address and _NUMBER.fullmatch(target.host):
        raise ProblemError(
            422, "bad-url", "The host is a number in an unusual form; write a name or an address."
        )
    return read, target


def refusal(error: SSRFGuardError) -> ProblemError:
    """Turn a refusal of the policy into the answer, without telling where a private name points."""
    if isinstance(error, BlockedAddressError) or isinstance(error.__cause__, BlockedAddressError):
        detail = "Only public addresses are fetched; IMAGE_API_ALLOWED_NETWORKS admits others."
        return ProblemError(422, "address-not-allowed", detail)
    reason = error.reason if isinstance(error, BlockedURLError) else str(error)
    reason = reason.partition(";")[0].partition(", which")[0]
    reason = reason.replace("allowed_ports", "IMAGE_API_ALLOWED_PORTS").replace(
        " in allowed_schemes", " fetched"
    )
    return ProblemError(422, "bad-url", f"The URL is not allowed: {_short(reason)}.")


def policy_of(settings: ApiSettings) -> Policy:
    """Give the policy that settings describe; raises ValueError for ports that are none."""
    return _policy(settings.allowed_networks, settings.allowed_ports)


@functools.lru_cache(maxsize=8)
def _policy(networks: tuple[Network, ...], ports: tuple[int, ...]) -> Policy:
    wrappers = {block.network for block in DEFAULT_DENIED.blocks if block.reach is Reach.TRANSLATED}
    allowed = [part for network in networks if network not in wrappers for part in _without_metadata(network)]
    return Policy(
        denied_networks=AddressTable(tuple(_blocks(wrappers & set(networks)))),
        allowed_networks=tuple(allowed),
        allowed_ports=frozenset(ports),
    )


def _blocks(unwrapped: set[Network]) -> Iterator[Block]:
    """Yield what is denied; of a prefix that carries IPv4 addresses and is allowed, those inside are asked about."""
    for block in DEFAULT_DENIED.blocks:
        yield block if block.network in unwrapped else replace(block, reach=Reach.DENIED)
    for network in map(ipaddress.ip_network, BEYOND):
        yield Block(network, "not a public address", "RFC 4291", Reach.DENIED)


def _without_metadata(network: Network) -> list[Network]:
    """Cut the addresses of metadata services out of a network, unless it is such an address itself."""
    parts: list[Network] = [network]
    for address in METADATA:
        parts = [rest for part in parts for rest in _without(part, address)]
    return parts


def _without(network: Network, address: Network) -> list[Network]:
    if isinstance(network, ipaddress.IPv4Network) and isinstance(address, ipaddress.IPv4Network):
        return (
            list(network.address_exclude(address))
            if network.supernet_of(address) and network != address
            else [network]
        )
    if isinstance(network, ipaddress.IPv6Network) and isinstance(address, ipaddress.IPv6Network):
        return (
            list(network.address_exclude(address))
            if network.supernet_of(address) and network != address
            else [network]
        )
    return [network]


def _short(error: object) -> str:
    return str(error).rstrip(".")[:200]
