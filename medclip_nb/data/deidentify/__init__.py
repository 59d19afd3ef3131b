"""Copies of images and tables without what identifies: the originals stay as they are, the copies appear whole or not at all.

DICOM by the Basic Application Level Confidentiality Profile of PS3.15, NIfTI, PNG and JPEG without their texts, tables of studies
with pseudonyms. What cannot be read, or seems to have text burnt in, is not copied and named.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...files import whole
from ..audit.identifiers import identifiers
from ..readers import DICOM, PICTURES
from . import files, headers, tables
from .headers import Refused, Suspected
from .secret import Secret, read_secret

NO_PROMISE = (
    "not promised: faces can be rebuilt from head images; a rare finding or device can be known again; a name that nothing "
    "points to stays in free text; text burnt into the middle of an image is not looked for; pixels are not changed"
)


@dataclass
class Copies:
    """What became of each file."""

    folder: Path
    copied: Counter = field(default_factory=Counter)  # by kind
    refused: dict[str, str] = field(default_factory=dict)  # name -> why
    suspected: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)  # files of other kinds
    notes: list[str] = field(default_factory=list)


def deidentify(source: str | Path, output: str | Path, *, key: str | Path | None = None, looked_at: bool = False) -> Copies:
    """Writes de-identified copies of a file or of all files in a folder into `output`, a new or empty folder outside of it.

    Pseudonyms, UIDs and names of files are the same wherever the same value stood, by a secret that is forgotten, or kept in
    the file `key`. Dates are emptied. With `looked_at` files that only seem to have text burnt in are copied: somebody
    looked. The copies are audited before they appear. Raises ValueError, leaving nothing, if that finds an identifier.
    """
    source, output = Path(source), Path(output)
    _refuse_places(source, output)
    secret, copies = read_secret(key, outside=output), Copies(output)
    with whole(output) as part:
        part.mkdir(parents=True)
        known: dict[str, set[str]] = {}
        for kind, name, path in sorted(_work(source, copies), key=lambda work: (work[0] == "table", work[1])):
            try:
                _copy(kind, path, part / secret.path(name), _Context(secret, looked_at, known, name, copies.notes))
            except Suspected as why:
                copies.suspected[name] = str(why)
            except Refused as why:
                copies.refused[name] = str(why)
            else:
                copies.copied[kind] += 1
        _audit(part)
    return copies


@dataclass(frozen=True)
class _Context:
    secret: Secret
    looked_at: bool
    known: dict[str, set[str]]  # relative path of a DICOM file -> words that name its patient
    name: str
    notes: list[str]

    def words_of(self, image: str) -> set[str]:
        """Words of all files that a row's `image`, a file or a folder, stands for; the table may lie in a folder itself."""
        at = (Path(self.name).parent / image).as_posix()
        return set().union(*(words for name, words in self.known.items() if at in (name, ".") or name.startswith(f"{at}/")))


def _refuse_places(source: Path, output: Path) -> None:
    if not source.exists():
        raise ValueError(f"{source}: no such file or folder")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"{output}: is already there and not empty; name a new folder")
    inside = source if source.is_dir() else source.parent
    if source.is_dir() and output.resolve().is_relative_to(inside.resolve()) or output.resolve() == inside.resolve():
        raise ValueError(f"{output}: lies inside {inside}; copies go elsewhere, or they would be copied next time")
    if source.resolve().is_relative_to(output.resolve()):
        raise ValueError(f"{output}: holds {source}; name a folder elsewhere")


def _work(source: Path, copies: Copies) -> Iterator[tuple[str, str, Path]]:
    """Kind, name relative to the source, and path of each file; what is of no kind is noted."""
    found = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]
    for path in found:
        name = path.relative_to(source if source.is_dir() else source.parent).as_posix()
        kind = next((kind for kind, fits in KINDS.items() if fits(path)), None)
        if kind is None or path.name.startswith("."):
            copies.left_out.append(name)
        else:
            yield kind, name, path


def _is_dicom(path: Path) -> bool:
    from pydicom.misc import is_dicom

    return path.name.lower().endswith(DICOM) or is_dicom(path)


def _copy(kind: str, path: Path, target: Path, about: _Context) -> None:
    try:
        _COPY[kind](path, target, about)
    except Refused:
        raise
    except (MemoryError, OSError):
        raise  # of this machine, not of the file
    except Exception as error:  # a damaged file raises a dozen kinds; each means the same to the user
        raise Refused(f"cannot be cleaned ({type(error).__name__}: {' '.join(str(error).split())[:120]})") from error


def _copy_dicom(path: Path, target: Path, about: _Context) -> None:
    header = headers.read(path)
    about.known[about.name] = headers.identity(header)
    headers.look_at_pixels(header, looked_at=about.looked_at)
    headers.clean(header, about.secret)
    with whole(target) as part:
        header.save_as(part, enforce_file_format=True)


def _copy_nifti(path: Path, target: Path, about: _Context) -> None:
    with whole(target) as part:
        part.write_bytes(files.clean_nifti(path))


def _copy_picture(path: Path, target: Path, about: _Context) -> None:
    with whole(target) as part:
        part.write_bytes(files.clean_picture(path, looked_at=about.looked_at))
    if not files.same_pixels(path, target):
        target.unlink()
        raise Refused("its pixels would change without its metadata")


def _copy_table(path: Path, target: Path, about: _Context) -> None:
    table, notes = tables.clean_table(path, about.secret, about.words_of)
    about.notes.extend(f"{about.name}: {note}" for note in notes)
    with whole(target) as part:
        table.to_csv(part, index=False)


def _audit(folder: Path) -> None:
    """Raises ValueError if our own audit would find an identifier in the copies."""
    for path in (p for p in sorted(folder.rglob("*")) if p.is_file()):
        if path.suffix == ".csv":
            found = tables.still_personal(tables.read_table(path).fillna(""))
        else:
            found = list(identifiers(path, known=_pseudonym(path)))
        if found:
            raise ValueError(
                f"the copies were thrown away: the audit still finds {', '.join(found[:5])} in one of them; report this"
            )


def _pseudonym(path: Path) -> tuple[str, ...]:
    from pydicom import dcmread
    from pydicom.misc import is_dicom

    return (str(dcmread(path, specific_tags=["PatientID"]).PatientID),) if is_dicom(path) else ()


# in the order in which a file is tried
KINDS: dict[str, Callable[[Path], bool]] = {
    "table": lambda path: path.suffix.lower() == ".csv",
    "NIfTI": files.is_nifti,
    "picture": lambda path: path.name.lower().endswith(PICTURES),
    "DICOM": _is_dicom,
}
_COPY = {"table": _copy_table, "NIfTI": _copy_nifti, "picture": _copy_picture, "DICOM": _copy_dicom}
