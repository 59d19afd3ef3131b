"""How a command ended, for kinds that are met at the command line."""

import contextlib
import io

from medclip_nb import cli


class Refused(Exception):
    """A command ended with code 2; the message is what it printed."""


def command(*words: object) -> str:
    """What a command prints. Raises Refused if it ends with 2, and AssertionError if it shows a traceback or says nothing."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main([str(word) for word in words])
    said = err.getvalue()
    assert "Traceback" not in said
    if code == 2:
        assert said.startswith("medclip-nb: error: ")
        assert len(said.strip().splitlines()) == 1
        raise Refused(said)
    return out.getvalue() + said
