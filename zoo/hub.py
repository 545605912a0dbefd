"""Files on the Hugging Face Hub, by huggingface_hub and safetensors, which read no pickles.

The address of a repository is `hf://owner/name`, or `hf://owner/name@revision` for a branch, tag or
commit.
"""
import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import UsageError, UserError, missing_packages

if TYPE_CHECKING:
    import numpy as np

SCHEME = "hf://"
WEIGHTS = "model.safetensors"
CARD = "card.json"
_KEPT = ("It is downloaded once, and kept in the folder that HF_HOME names, or else in "
         "~/.cache/huggingface.")


@contextlib.contextmanager
def packages() -> Iterator[None]:
    """Convert an ImportError of huggingface_hub or safetensors to a UserError."""
    try:
        yield
    except ImportError:
        raise missing_packages("The Hugging Face Hub", "huggingface_hub and safetensors",
                               "hub") from None


def is_address(name: object) -> bool:
    """Return whether `name` is an address on the Hub."""
    return isinstance(name, str) and name.startswith(SCHEME)


def parse(address: str) -> tuple[str, str | None]:
    """Return the repository and the revision, or None, of an address.

    Raises:
        zoo.errors.UsageError: if it is not `hf://owner/name`, with `@revision` or without.
    """
    part = r"[A-Za-z0-9][\w.-]*"
    match = re.fullmatch(rf"{SCHEME}({part}/{part})(?:@([\w./-]+))?", address)
    if not match:
        raise UsageError("Expected an address on the Hugging Face Hub, hf://owner/name. Received: "
                         f"{address}.")
    return match[1], match[2]


def check_target(address: str, licence: str) -> str:
    """Return the repository in which a run may be published.

    Raises:
        zoo.errors.UsageError: if `address` is not `hf://owner/name`, or `licence` no identifier.
    """
    repository, revision = parse(address)
    if revision:
        raise UsageError("A run is published on the main branch: hf://owner/name. "
                         f"Received: {address}.")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", licence):
        raise UsageError("licence must be an identifier of the Hub, such as apache-2.0. "
                         f"Received: {licence!r}.")
    return repository


def cached(repository: str, file: str, revision: str | None = None) -> Path | None:
    """Return the file in the cache of huggingface_hub, or None."""
    with packages():
        from huggingface_hub import try_to_load_from_cache
    path = try_to_load_from_cache(repository, file, revision=revision)
    return Path(path) if isinstance(path, str) else None


def stated_sha256(path: Path | None) -> str | None:
    """Return the SHA-256 that the Hub stated for a file in the cache, where it names the blob."""
    name = Path(os.path.realpath(path)).name if path else ""
    return name if re.fullmatch(r"[0-9a-f]{64}", name) else None


def download(repository: str, file: str, revision: str | None = None) -> Path:
    """Return a file of a repository, downloaded once to the cache of huggingface_hub.

    Raises:
        zoo.errors.UserError: if huggingface_hub is not installed, or the file cannot be downloaded.
    """
    with packages():
        from huggingface_hub import hf_hub_download
    with one_line(f"Cannot get {file} of huggingface.co/{repository}", _KEPT):
        return Path(hf_hub_download(repository, file, revision=revision))


@contextlib.contextmanager
def one_line(failure: str, advice: str = "") -> Iterator[None]:
    """Convert an error of huggingface_hub, or of the connection, to a UserError.

    Args:
        failure: the beginning of the message.
        advice: its end.
    """
    from huggingface_hub import errors
    # Of httpx, or httpx2 in later versions.
    of_the_connection: type[Exception] = errors.HfHubHTTPError.__bases__[0]
    try:
        yield
    except (OSError, ValueError, of_the_connection, errors.EntryNotFoundError) as error:
        if isinstance(error, UserError):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{failure}: {reason} {advice}".rstrip()) from None


def check_sha256(path: Path, expected: str | None, what: str) -> None:
    """Raise UserError if the SHA-256 of the file at `path` is not the expected one.

    Args:
        path: the file.
        expected: the SHA-256 in hexadecimal digits; None if it is not known, which raises too.
        what: what the file is, for the message.
    """
    if expected is None:
        raise UserError(f"Cannot check {what}: the Hub states no SHA-256 for it, or {path} is not "
                        "in the cache of huggingface_hub as a link.")
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != expected:
        raise UserError(f"{what} is not the expected file: its SHA-256 is {digest[:12]}..., not "
                        f"{expected[:12]}... Delete {path} and try again.")


def arrays(path: Path) -> dict[str, "np.ndarray"]:
    """Return the arrays of a safetensors file by their names.

    Raises:
        zoo.errors.UserError: if it is damaged.
    """
    with packages():
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"Cannot read {path}: {' '.join(str(error).split())}.") from None
