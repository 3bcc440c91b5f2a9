"""Text of problems, files and servers cannot control a terminal."""

import io
import sys

import pytest
from tqdm import tqdm

from circuitseer_trl.command_line import run_command
from circuitseer_trl.terminal import VisibleStream, visible

HOSTILE = "\x1b[2J\x1b]0;title\x07a\rb\x9b31m\x7f\u202egnp\u2066\ud800"
SHOWN = r"\x1b[2J\x1b]0;title\x07a\x0db\x9b31m\x7f\u202egnp\u2066\ud800"


def test_controls_are_shown_and_lines_and_letters_stay():
    assert visible(HOSTILE) == SHOWN
    assert visible("tab\t, line\nanother\r\nÄ 数学 שלום █ 👩‍🔬") == "tab\t, line\nanother\r\nÄ 数学 שלום █ 👩‍🔬"


def test_a_carriage_return_is_kept_only_where_a_bar_begins():
    stream = io.StringIO()
    guarded = VisibleStream(stream)
    guarded.write("\rbar")
    guarded.write("a\rb")
    guarded.write("\n\x1b[A")
    guarded.write("\n\x1b[Ax")
    assert stream.getvalue() == "\rbara\\x0db\n\x1b[A\n\\x1b[Ax"


def test_bars_are_drawn_as_without_the_guard():
    written = []
    for wrap in (lambda stream: stream, VisibleStream):
        stream = io.StringIO()
        with tqdm(total=2, desc="one", file=wrap(stream), mininterval=0, position=1, bar_format="{desc} {n}") as bar:
            bar.update()
            bar.update()
        written.append(stream.getvalue())
    assert "\x1b[A" in written[0]
    assert written[0] == written[1]


def test_wandb_loses_its_colours():
    stream = io.StringIO()
    VisibleStream(stream).write("\x1b[34m\x1b[1mwandb\x1b[0m: run \x1b[33mx\x1b[0m\x1b]0;t\x07\n")
    assert stream.getvalue() == "wandb: run x\\x1b]0;t\\x07\n"


def test_everything_that_a_command_prints_is_guarded(capsys: pytest.CaptureFixture[str]):
    def command(words: list[str]) -> None:
        print(HOSTILE)
        sys.stderr.writelines([HOSTILE, "\n"])
        raise FileNotFoundError(HOSTILE)

    before = sys.stdout, sys.stderr
    assert run_command(command, []) == 2
    assert (sys.stdout, sys.stderr) == before
    out, err = capsys.readouterr()
    assert out == f"{SHOWN}\n"
    one_line = SHOWN.replace(r"a\x0db", "a b")  # a return is white space
    assert err == f"{SHOWN}\nerror: {one_line}\n"


def test_the_traceback_of_a_bug_is_guarded(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def command(words: list[str]) -> None:
        raise RuntimeError("\x1b[2J")

    with pytest.raises(RuntimeError) as bug:
        run_command(command, [])
    sys.excepthook(bug.type, bug.value, bug.tb)
    assert "RuntimeError: \\x1b[2J\n" in capsys.readouterr().err


def test_an_error_starts_a_line_of_its_own(capsys: pytest.CaptureFixture[str]):
    def main(words: list[str]) -> None:
        print("\r 50% of a bar", end="", file=sys.stderr)
        raise FileNotFoundError("There is no file x.")

    assert run_command(main, []) == 2
    assert capsys.readouterr().err.splitlines() == ["", " 50% of a bar", "error: There is no file x."]
