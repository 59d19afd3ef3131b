"""Pseudonyms: the same for the same value and secret, and no way back without the secret."""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...files import whole
from ..adapters.class_folders import SPLIT_FOLDERS
from ..class_lists import ORGAN_CLASSES
from ..readers import DICOM, NIFTI, PICTURES

SALT_BYTES = 32
SUFFIXES = (*NIFTI[::-1], *PICTURES, *DICOM, ".csv")  # .nii.gz before .nii would do too: the longest first
# names of files and folders that say what they hold: they stay
PLAIN = {"manifest", "images", "masks", "segmentations", "lesions", *SPLIT_FOLDERS}
PLAIN |= {name for classes in ORGAN_CLASSES.values() for name in classes}


@dataclass(frozen=True)
class Secret:
    """What pseudonyms are made with (HMAC-SHA256). Whoever has it can try values out, so it is kept apart from the copies."""

    salt: bytes

    def person(self, value: str) -> str:
        """What a patient is called: "P" and 12 hexadecimal digits."""
        return f"P{self._digest('person', value.strip()).hex()[:12]}"

    def study(self, value: str) -> str:
        """What a row of a manifest is called: "S" and 12 hexadecimal digits."""
        return f"S{self._digest('study', value.strip()).hex()[:12]}"

    def uid(self, value: str) -> str:
        """A DICOM UID in place of another, below 2.25, the root for UIDs made of random numbers."""
        return f"2.25.{int.from_bytes(self._digest('uid', value)[:16])}"

    def path(self, path: str) -> str:
        """A relative path with every name in it replaced, known suffixes and plain names (train, masks, liver) left."""
        parts = PurePosixPath(path.replace(os.sep, "/")).parts
        return "/".join(self._name(part) for part in parts) or "."

    def _name(self, name: str) -> str:
        suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if name.lower().endswith(s)), "")
        stem = name[: len(name) - len(suffix)]
        return (stem if stem.lower() in PLAIN else f"x{self._digest('name', name).hex()[:12]}") + suffix

    def _digest(self, kind: str, value: str) -> bytes:
        return hmac.digest(self.salt, f"{kind}\0{value}".encode(), hashlib.sha256)


def read_secret(key: str | Path | None, *, outside: Path) -> Secret:
    """A new secret that nothing keeps; with `key`, the one in that file, which is written if it is not there (mode 600).

    Raises ValueError if the file is none, or would lie with the copies, in the folder `outside`.
    """
    if key is None:
        return Secret(secrets.token_bytes(SALT_BYTES))
    key = Path(key)
    if key.resolve().is_relative_to(outside.resolve()):
        raise ValueError(f"{key}: the key would lie with the copies, in {outside}; keep it elsewhere")
    if not key.exists():
        with whole(key) as part, os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(SALT_BYTES))
    text = key.read_text(encoding="ascii", errors="replace").strip()
    if len(text) != 2 * SALT_BYTES or set(text) - set("0123456789abcdef"):
        raise ValueError(f"{key}: is no key: it should hold {2 * SALT_BYTES} hexadecimal digits; name another file")
    return Secret(bytes.fromhex(text))
