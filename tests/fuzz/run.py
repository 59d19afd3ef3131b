"""Fuzzing guided by coverage, outside of the tests: needs the extra `fuzz` (atheris, Linux and macOS).

    python tests/fuzz/run.py TARGET [-max_total_time=240] [any other option of libFuzzer]

TARGET is one of readers, manifests, reports, similarities. It starts from valid inputs, keeps what it learns in
$MEDCLIP_NB_HOME/fuzz/TARGET, and stops at the first input that breaks a property of tests/properties.py, whose file it names;
`python tests/fuzz/run.py TARGET FILE` runs that one again. What it found is kept as code in tests/test_fuzz.py.
"""

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["medclip_nb.text", "medclip_nb.data"]):  # of pydicom the tables alone take minutes
    import properties
from medclip_nb.config import home

MAX_BYTES = 4096
HEADER = b"study_id,patient_id,modality,image,report,split\n"
SENTENCES = [
    b"FINDINGS: No nodule. A 12 x 8 mm cyst in the left kidney, previously 9 mm.\nIMPRESSION: Normal liver and spleen.",
    "1. Pleural effusion on both sides – not seen.\n• <b>Cardiomegaly?</b> İ".encode(),
]


def readers(data: bytes) -> None:
    """The first byte chooses the kind of file."""
    names = list(properties.FILES)
    name = names[data[0] % len(names)] if data else names[0]
    (properties.dataset_or_refused if name.endswith(".npz") else properties.read_or_refused)(name, data[1:])


def manifests(data: bytes) -> None:
    """The first byte chooses how strictly the table is read."""
    properties.table_or_refused(data[1:], lenient=bool(data[:1] and data[0] % 2))


def reports(data: bytes) -> None:
    """Any text, half characters included."""
    properties.report_holds(data.decode("utf-8", "surrogateescape"))


def similarities(data: bytes) -> None:
    """Lines are reports, "|" divides findings, ":" location and signal."""
    lines = data.decode("utf-8", "replace").split("\n")[:12]
    properties.similarity_holds([[tuple(part.partition(":")[::2]) for part in line.split("|")[:6] if part] for line in lines])


# target -> its inputs to start from
TARGETS = {
    readers: [bytes([i]) + one for i, contents in enumerate(properties.FILES.values()) for one in contents],
    manifests: [b"\0" + HEADER + b'a,p,CT,a.png,"a, b",train\nb,q,CT,b.png,x,test\n', b"\1" + HEADER + b"a,p,XX,,,\n"],
    reports: SENTENCES,
    similarities: [b"left lung:nodule|liver:high signal\n\nliver:low signal", b"a:b\na:b"],
}


def main() -> None:
    """Runs one target."""
    by_name = {target.__name__: target for target in TARGETS}
    if len(sys.argv) < 2 or sys.argv[1] not in by_name:
        sys.exit(f"usage: python {sys.argv[0]} {{{','.join(by_name)}}} [-max_total_time=SECONDS]")
    target = by_name[sys.argv.pop(1)]
    known = home() / "fuzz" / target.__name__
    known.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as seeds:
        for i, seed in enumerate(TARGETS[target]):
            (Path(seeds) / str(i)).write_bytes(seed)
        options = [f"-max_len={MAX_BYTES}", "-timeout=20", "-rss_limit_mb=4096", f"-artifact_prefix={known}-"]
        if any(not one.startswith("-") for one in sys.argv[1:]):  # files to run again
            atheris.Setup([sys.argv[0], *sys.argv[1:]], target)
        else:
            atheris.Setup([sys.argv[0], *options, *sys.argv[1:], str(known), seeds], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
