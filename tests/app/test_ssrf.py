"""Nobody can turn the fetch against the network: every case is tried over real sockets in a network of its own."""

from __future__ import annotations

import csv
import ipaddress
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = "93.184.216.34"
HOST = "img.example.com"
NEVER = ("168.63.129.16", "192.0.0.9", "192.0.0.10")
ADDRESSES = """
    0.0.0.0 10.255.255.255 100.64.0.0 100.100.100.200 127.255.255.255 168.63.129.16 169.254.169.254 172.31.255.255
    192.0.0.8 192.0.0.9 192.0.0.170 192.0.0.192 192.0.2.1 192.88.99.1 192.168.255.255 198.19.255.255 198.51.100.7
    203.0.113.9 224.0.0.1 240.0.0.1 255.255.255.255
    :: ::1 ::2 ::7f00:1 ::808:808 ::ffff:8.8.8.8 ::ffff:0:8.8.8.8 64:ff9b::808:808 64:ff9b::a9fe:a9fe 64:ff9b:1::1
    100::1 100:0:0:1::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1 2001:20::1 2001:db8::1 2002:808:808::1
    2002:7f00:1::1 3fff::1 4000::1 5f00::1 8000::1 fc00::1 fd00:ec2::254 fd20:ce::254 fe80::1 fe80::a9fe:a9fe fec0::1
    ff02::1 ff0e::1
"""
DENIED_URLS = """
    http://2130706433/ http://0x7f.1/ http://0X7F000001/ http://017700000001/ http://127.1/ http://127.0.0.1../
    http://0x08080808/ http://8.8.8.8./ http://8.8.2056/ http://8.8.8.08/ http://1.2.3.4.5/ http://evil.0x7f/
    http://[::ffff:7f00:1]/ http://[::127.0.0.1]/ http://[fe80::1%25lo]/ http://[::1]:80@img.example.com/
    http://[v1.x]/ http://[::1 http://img.example.com:0/ http://img.example.com:443@127.0.0.1/
    http://user@img.example.com/ http://:@img.example.com/ http://img.example.com:81/ https://img.example.com:80443/
    http://img.example.com:٨٠/ http://img.example.com:-80/ http://img.example.com:+80/ http://img.example.com:8_0/
    http:img.example.com http:/img.example.com http:\\\\img.example.com\\ http://img.example.com\\@127.0.0.1/
    HtTpS:/// data:image/png;base64,AA about:blank blob:http://img.example.com/x ldap://img.example.com/
    http://.img.example.com/ http://img..example.com/ http://img_.-/ http://%31%32%37.0.0.1/ http://127.0.0.1%2f@x/
"""
ALLOWED_ADDRESSES = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
]
ALLOWED_ADDRESSES += [
    "168.63.129.15",
    "169.253.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "198.20.0.0",
    "223.255.255.255",
]
ALLOWED_ADDRESSES += [
    "2606:4700:4700::1111",
    "2a00:1450:4001:82a::200e",
    "2003::1",
    "2400:cb00:2048:1::c629:d7a2",
]


def case(number: str, url: str, expected: str, **more: Any) -> dict[str, Any]:
    """Describe one fetch; `more` holds answers of the resolver, redirects, the environment."""
    dns = {HOST: [[PUBLIC]], "cdn.example.com": [["151.101.1.69"]]} | more.pop("dns", {})
    return {"id": number, "url": url, "expected": expected, "dns": dns, "redirect": [], "environ": {}, **more}


def literal(address: str) -> str:
    """Write an address as the host of a URL."""
    return f"[{address}]" if ":" in address else address


def own() -> list[dict[str, Any]]:
    """Give the cases of this project: classes, not examples, wherever a class can be written down."""
    addresses, denied = ADDRESSES.split(), DENIED_URLS.split()
    cases = [case(f"literal-{a}", f"http://{literal(a)}/a.jpg", "deny") for a in addresses]
    cases += [case(f"name-{a}", "http://x.test/a.jpg", "deny", dns={"x.test": [[a]]}) for a in addresses]
    for a in addresses:
        mixed = {"x.test": [[PUBLIC, a]]}
        cases.append(case(f"mixed-{a}", "https://x.test/a.jpg", "deny", dns=mixed))
        cases.append(case(f"redirect-{a}", f"http://{HOST}/", "deny", redirect=[f"http://{literal(a)}/"]))
        turned = {"x.test": [[PUBLIC], [a]]}
        cases.append(case(f"rebind-{a}", "http://x.test/a.jpg", "allow-pinned", dns=turned))
        back = [f"http://{HOST}/", "http://x.test/2"]
        cases.append(case(f"rebind-redirect-{a}", "http://x.test/", "deny", dns=turned, redirect=back))
    cases += [case(f"denied-{u}", u, "deny") for u in denied]
    cases += [
        case(f"denied-{c!r}", f"http://{HOST}{c}/", "deny") for c in ("\t", "\n", "\r\n", "\0", " ", "\x7f")
    ]
    cases += [case(f"redirect-{u}", f"http://{HOST}/", "deny", redirect=[u]) for u in denied if "://" in u]
    cases += [case(f"allowed-{a}", f"http://{literal(a)}/a.jpg", "allow") for a in ALLOWED_ADDRESSES]
    hops = [f"https://{HOST}/{number}" for number in range(10)]
    cases.append(case("ten-hops", f"http://{HOST}/", "allow", redirect=hops))
    cases.append(case("eleven-hops", f"http://{HOST}/", "deny", redirect=[*hops, f"http://{HOST}/"]))
    cases.append(
        case(
            "relative",
            f"http://{HOST}/a/b",
            "allow",
            redirect=["../c d?e=é", "?q", "#f", "//cdn.example.com/x"],
        )
    )
    cases += networks()
    return cases


def networks() -> list[dict[str, Any]]:
    """Give the cases of networks that the operator named."""
    ten = {"IMAGE_API_ALLOWED_NETWORKS": "10.0.0.0/8, fd00::/8,::1"}
    wide = {"IMAGE_API_ALLOWED_NETWORKS": "0.0.0.0/0"}
    nat64 = {"IMAGE_API_ALLOWED_NETWORKS": "64:ff9b::/96"}
    azure = {"IMAGE_API_ALLOWED_NETWORKS": "168.63.129.16"}
    return [
        case("named", "http://10.1.2.3/", "allow", environ=ten),
        case("named-v6", "http://[fd00::1]/", "allow", environ=ten),
        case("named-loopback", "http://[::1]/", "allow", environ=ten),
        case("not-named", "http://192.168.0.1/", "deny", environ=ten),
        case("named-mapped", "http://[::ffff:10.1.2.3]/", "deny", environ=ten),
        case("named-metadata", "http://[fd00:ec2::254]/", "deny", environ=ten),
        case("wide", "http://127.0.0.1/", "allow", environ=wide),
        case("wide-metadata", "http://169.254.169.254/", "deny", environ=wide),
        case("wide-azure", "http://168.63.129.16/", "deny", environ=wide),
        case("metadata-itself", "http://168.63.129.16/", "allow", environ=azure),
        case("nat64", "http://[64:ff9b::808:808]/", "allow", environ=nat64),
        case("nat64-private", "http://[64:ff9b::a00:1]/", "deny", environ=nat64),
        case("port", f"http://{HOST}:443/", "deny", environ={"IMAGE_API_ALLOWED_PORTS": "80"}),
    ]


def given(shared: Path) -> list[dict[str, Any]]:
    """Read the cases that were given; a resolver that knows nothing is the default."""
    with (shared / "ssrf_cases.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [
        {
            "id": row["id"],
            "url": row["url"],
            "expected": row["expected"],
            "dns": json.loads(row["dns"] or "{}"),
            "redirect": json.loads(row["redirect"] or "[]"),
        }
        for row in rows
    ]


def outcomes(cases: list[dict[str, Any]], loop: str) -> dict[str, dict[str, Any]]:
    """Run cases in a network of their own, or skip where this user may not make one."""
    for tool in ("unshare", "ip", "openssl"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is needed for a network of its own")
    alone = ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this user may not make a network of its own")
    done = subprocess.run(
        [*alone, sys.executable, "-W", "error", "tests/app/ssrf_world.py", loop],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HTTP_PROXY": "http://127.0.0.1:80",
            "ALL_PROXY": "http://10.0.0.1",
        },
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {found["id"]: found for found in json.loads(done.stdout)}


def is_public(address: str) -> bool:
    """Ask the standard library, which is too generous, and a list of what it misses."""
    read = ipaddress.ip_address(address)
    return read.is_global and not read.is_multicast and address not in NEVER


def judge(cases: list[dict[str, Any]], loop: str) -> list[str]:
    """Name the cases that did not end as expected; whatever is expected, only public addresses may be reached."""
    found = outcomes(cases, loop)
    assert len(found) == len(cases)
    wrong = []
    for asked in cases:
        got = found[asked["id"]]
        named = bool(asked.get("environ"))
        harmless = named or all(map(is_public, got["reached"]))
        fetched = got["ended"] == "fetched"
        expected = asked["expected"]
        first = [answers[0][0] for answers in asked["dns"].values() if answers[0]]
        right = {
            "deny": not fetched
            and (named or got["ended"] in {"bad-url", "address-not-allowed", "fetch-failed"}),
            "allow": fetched,
            "allow-pinned": fetched and set(got["reached"]) <= set(first) and len(got["reached"]) == 1,
            "either": True,
        }[expected]
        clean = all(head.count("\nHost:") == 1 and head.count("\r\n\r\n") == 1 for head in got["asked"])
        once = max(got["lookups"].values(), default=0) <= len(asked["redirect"]) + 1
        if not (harmless and right and got["whole"] and clean and once):
            wrong.append(f"{expected}: {asked} came out as {got}")
    return wrong


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_given_cases_end_as_they_should(shared: Path, loop: str) -> None:
    """Every URL of the shared list is fetched or refused as it says, and nothing private is ever reached."""
    assert judge(given(shared), loop) == []


@pytest.mark.slow
def test_whole_classes_end_as_they_should() -> None:
    """Every special block is refused as a number, by name, among public answers, by redirect and by rebinding."""
    assert judge(own(), "uvloop") == []
