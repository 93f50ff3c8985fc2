"""Certificates and tokens for tests, made by `viaduct pki`."""

import subprocess

from agent import BINARY


class Papers:
    """A directory with an authority and what it issued."""

    def __init__(self, path, address):
        self.path = path
        path.mkdir()
        self.pki = path / "pki"
        self.run("pki", "init", "--directory", self.pki, "--name", "fleet")
        self.ca = self.pki / "ca.crt"
        self.issue("server", "--ip", address, "--dns", "agent.example")

    def run(self, *argv, check=True):
        done = subprocess.run([BINARY, *map(str, argv)], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0 or not check, done
        return done

    def issue(self, name, *argv, pki=None):
        self.run("pki", "issue", name, "--directory", pki or self.pki, "--out", self.path, *argv)
        return self.pair(name)

    def revoke(self, name):
        self.run("pki", "revoke", self.path / f"{name}.crt", "--directory", self.pki)

    def pair(self, name):
        return "--cert", self.path / f"{name}.crt", "--key", self.path / f"{name}.key"

    def token(self, name, role):
        """A new token, in a file of its own."""
        token = self.run("pki", "token", name, "--role", role, "--file", self.path / "tokens").stdout.strip()
        file = self.path / f"{name}-{len(list(self.path.iterdir()))}.token"
        file.touch(mode=0o600)
        file.write_text(token)
        return token, file

    @property
    def flags(self):
        return ("--tls-certificate", self.path / "server.crt", "--tls-key", self.path / "server.key",
                "--tls-client-ca", self.ca, "--tokens", self.path / "tokens")
