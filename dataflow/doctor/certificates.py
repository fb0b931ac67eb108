"""Whether the other end of a connection must prove who it is."""

from __future__ import annotations

from dataflow.doctor.finding import Finding
from dataflow.unchecked import unchecked


def examine(subject: str, url: str) -> list[Finding]:
    """What an address says about certificates: nothing, or that it lets anybody pass. Pure."""
    options = unchecked(url)
    if not options:
        return []
    text = (
        f"its address turns checks of certificates off ({', '.join(options)}): whoever answers there gets the password"
    )
    remedy = "take the option out, and name the authority that has signed the server's certificate (docs/SECURITY.md)"
    return [Finding(subject, "wrong", "certificate", text, remedy)]
