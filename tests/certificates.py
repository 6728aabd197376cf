"""Certificates for tests: an authority, a server and a client, made anew in a folder."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files; keys are not encrypted."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


@dataclass(frozen=True)
class Signed:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def write(self, certificate: Path, key: Path) -> None:
        """Writes both as PEM."""
        certificate.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        key.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


def write_certificates(folder: Path, client_name: str = "client") -> Certificates:
    """Makes an authority, a certificate for this machine and one for a client.

    Args:
        folder: where ca.pem, server.pem, server.key, client.pem and client.key are written.
        client_name: the common name in the client's certificate.
    """
    authority = sign("Test authority", None, [x509.BasicConstraints(True, 0), signs()])
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in LOOPBACK]
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), *addresses])
    server = sign("localhost", authority, [names, usage(ExtendedKeyUsageOID.SERVER_AUTH)])
    client = sign(client_name, authority, [usage(ExtendedKeyUsageOID.CLIENT_AUTH)])
    paths = Certificates(
        ca=folder / "ca.pem",
        server=folder / "server.pem",
        server_key=folder / "server.key",
        client=folder / "client.pem",
        client_key=folder / "client.key",
    )
    paths.ca.write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    server.write(paths.server, paths.server_key)
    client.write(paths.client, paths.client_key)
    return paths


def usage(purpose: x509.ObjectIdentifier) -> x509.ExtendedKeyUsage:
    """What a certificate may be used for."""
    return x509.ExtendedKeyUsage([purpose])


def signs() -> x509.KeyUsage:
    """The usage of an authority's key: to sign certificates."""
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def sign(common_name: str, issuer: Signed | None, extensions: list[x509.ExtensionType]) -> Signed:
    """A certificate, valid for a day around now, signed by `issuer` or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=23))
    )
    signer = issuer.key if issuer else key
    # Python 3.13 and later refuse a chain without these two.
    identifiers = [
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
    ]
    for extension in [*extensions, *identifiers]:
        critical = isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(signer, hashes.SHA256())
    return Signed(certificate, key)
