"""An OpenSSF Model Signing statement beside exported weights, which the standard tool verifies.

    model_signing verify key head.safetensors --signature head.safetensors.sig --public_key acme.pub

The statement is an in-toto statement over the SHA-256 digests of the files, signed with ECDSA in a DSSE
envelope, in a Sigstore bundle; the package `model-signing` (extra `signing`) makes it. It takes keys on the
NIST curves alone, so the key is another one than a member's, and says who vouches for a file, not what is in
it: that is what the ledger's digest of the weights is for.

References: OpenSSF Model Signing v1.0, https://github.com/sigstore/model-transparency.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from relayjax.errors import ConfigError
from relayjax.files import read, write_atomic

SUFFIX = ".sig"


def signer(key: Path) -> Callable[[Path], Path]:
    """What signs exported files with a key.

    Args:
      key: file of an unencrypted private key on P-256, P-384 or P-521, PEM.

    Returns:
      A function that writes the statement about a file beside it, and returns where: its name and `.sig`.

    Raises:
      ConfigError: the extra is not installed, or the file holds no such key.
    """
    try:
        config = import_module("model_signing.signing").Config()
    except ImportError as error:
        raise ConfigError(f"--sign needs `pip install relayjax[signing]` ({error})") from error
    try:
        config.use_elliptic_key_signer(private_key=key)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{key}: not an unencrypted EC private key ({error}); make one with "
            "`openssl ecparam -name prime256v1 -genkey -noout -out KEY.pem`"
        ) from error

    def sign(file: Path) -> Path:
        statement = file.with_name(file.name + SUFFIX)
        with TemporaryDirectory() as directory:
            made = Path(directory, "statement")
            config.sign(file, made)
            write_atomic(statement, read(made))
        return statement

    return sign
