"""TLS for both ports: one certificate, read again when its files change."""

import ssl
from pathlib import Path

import grpc

from fpan.serve.admission.settings import AdmissionSettings
from fpan.serve.admission.watched_files import Contents, WatchedFiles
from fpan.serve.api.errors import StartError
from fpan.serve.telemetry.metrics import FileCounts

_WHAT = "certificate"


class Tls:
    """The present certificate for HTTP and gRPC. New connections use the newest one."""

    def __init__(self, settings: AdmissionSettings) -> None:
        """Stores the files' names; :meth:`use` reads the files.

        Args:
            settings: with ``tls_certificate`` and ``tls_key``.
        """
        assert settings.tls_certificate is not None
        assert settings.tls_key is not None
        self._certificate, self._key = settings.tls_certificate, settings.tls_key
        self._client_ca = settings.tls_client_ca
        self.context = self._fresh()
        """TLS context of HTTP."""
        self._grpc: grpc.ServerCertificateConfiguration

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, in the order in which :meth:`use` expects their contents."""
        return (self._certificate, self._key) + ((self._client_ca,) if self._client_ca else ())

    def use(self, contents: Contents) -> None:
        """Replaces the certificate.

        Raises:
            OSError, ValueError: certificate and key do not match, or one of them is not valid.
        """
        self._load(self._fresh())  # tried in a new context first: an invalid pair changes nothing
        if contents != tuple(path.read_bytes() for path in self.paths):
            raise ValueError("its files are being written just now")
        self._load(self.context)
        roots = contents[2] if self._client_ca else None
        if self._client_ca:
            self.context.load_verify_locations(self._client_ca)  # a context cannot drop the former ones
        self._grpc = grpc.ssl_server_certificate_configuration([(contents[1], contents[0])], root_certificates=roots)

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Returns credentials of gRPC that use the present certificate at every handshake."""
        credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            self._grpc, lambda: self._grpc, require_client_authentication=self._client_ca is not None
        )
        return credentials

    def _fresh(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self._client_ca)
        if self._client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self._certificate, self._key, password=_no_password)


def _no_password() -> str:
    raise ValueError("the key is encrypted: TLS_KEY is one without a password")


def open_tls(settings: AdmissionSettings, counts: FileCounts) -> tuple[Tls | None, tuple[WatchedFiles, ...]]:
    """Opens the certificate of both ports and watches its files; returns ``(None, ())`` if TLS is not configured.

    Raises:
        StartError: certificate or key is missing, or they cannot be used.
    """
    if not (settings.tls_certificate and settings.tls_key):
        if settings.tls_certificate or settings.tls_key or settings.tls_client_ca:
            raise StartError("TLS needs both TLS_CERTIFICATE and TLS_KEY: name both, or none of the settings of TLS")
        return None, ()
    try:
        tls = Tls(settings)
        followed = WatchedFiles(_WHAT, tls.paths, tls.use, settings.files_poll_s, lambda good: counts.used(_WHAT, good))
    except (OSError, ValueError) as error:
        named = f"TLS_CERTIFICATE={settings.tls_certificate} with TLS_KEY={settings.tls_key}"
        if settings.tls_client_ca:
            named += f" and TLS_CLIENT_CA={settings.tls_client_ca}"
        raise StartError(f"{named} cannot be used: {getattr(error, 'strerror', None) or error}") from error
    return tls, (followed,)
