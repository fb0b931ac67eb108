"""Certificates for tests, made by the openssl of this machine: an authority, and what it has signed."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Authority:
    """A certificate authority in a folder of its own.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._run("req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=test-ca")

    @property
    def certificate(self) -> Path:
        """What others trust."""
        return self._folder / "ca.crt"

    def sign(self, name: str, address: str = "IP:127.0.0.1") -> tuple[Path, Path]:
        """A new certificate for an address, and its key."""
        certificate, key = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        request, facts = self._folder / f"{name}.csr", self._folder / f"{name}.txt"
        self._run("req", *_KEY, "-keyout", key.name, "-out", request.name, "-subj", f"/CN={name}")
        facts.write_text(f"subjectAltName={address}\n")
        self._run(
            "x509", "-req", "-in", request.name, "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", certificate.name, "-days", "2", "-extfile", facts.name,
        )  # fmt: skip
        return certificate, key

    def _run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._folder, check=True, capture_output=True)


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
