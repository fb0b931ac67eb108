"""Addresses with which anybody is believed are known."""

from __future__ import annotations

import pytest

from dataflow.unchecked import unchecked


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("rediss://u:secret@h/0?ssl_cert_reqs=none", ("ssl_cert_reqs=none",)),
        ("rediss://h/0?ssl_cert_reqs=CERT_NONE", ("ssl_cert_reqs=CERT_NONE",)),
        ("rediss://h/0?ssl_check_hostname=False&db=1", ("ssl_check_hostname=False",)),
        ("clickhouses://h?verify=0&check_hostname=no", ("verify=0", "check_hostname=no")),
        ("mongodb://h/?tls=true&tlsInsecure=true", ("tlsInsecure=true",)),
        ("mongodb://h/?tlsAllowInvalidHostnames=true", ("tlsAllowInvalidHostnames=true",)),
        ("rediss://h/0?ssl_cert_reqs=required&ssl_ca_certs=/etc/ca.crt", ()),
        ("clickhouses://h?verify=true", ()),
        ("mongodb://h/?tls=true&tlsInsecure=false", ()),
        ("embedded", ()),
        ("redis://[", ()),
    ],
)
def test_what_turns_checks_off(url: str, options: tuple[str, ...]) -> None:
    assert unchecked(url) == options
