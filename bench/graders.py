"""How good are graders? Accuracy, recall, false accepts, undecided and seconds, ours beside every peer that is installed.

python -m bench.graders [--peers math-verify ...] [--suites DIR]        # make bench-graders
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.grader_cases import Case, case_sets
from bench.grader_peers import PEERS, Said, ask_peer, installed_peers
from circuitseer_trl.grading.grader import Grader, Question

HEADING = ["cases", "grader", "right %", "recall %", "false accepts %", "undecided", "seconds"]


def ask_ours(cases: Sequence[Case]) -> Said:
    """Our verdicts, in one process as the peers; an undecided answer has none."""
    with Grader(num_workers=1) as grader:
        grader.grade([("\\boxed{1}", Question("1"))])  # its process starts
        start = time.perf_counter()
        verdicts = grader.grade([(case.response, Question(case.gold, case.choices, case.question)) for case in cases])
        seconds = time.perf_counter() - start
    return Said([None if verdict.undecided else verdict.correct for verdict in verdicts], seconds)


def figures(cases: Sequence[Case], said: Said) -> list[str]:
    """The numbers of a row. What a grader could not decide counts as refused."""
    accepted = [verdict is True for verdict in said.verdicts]
    right = [case.right for case in cases]
    hits = sum(one == other for one, other in zip(accepted, right, strict=True))
    recall = sum(one and other for one, other in zip(accepted, right, strict=True))
    false = sum(one and not other for one, other in zip(accepted, right, strict=True))
    undecided = sum(verdict is None for verdict in said.verdicts)
    shares = [(hits, len(cases)), (recall, sum(right)), (false, len(cases) - sum(right))]
    return [
        *(f"{100 * part / total:.1f}" if total else "-" for part, total in shares),
        str(undecided),
        f"{said.seconds:.1f}",
    ]


def table(sets: Mapping[str, Sequence[Case]], peers: Sequence[str]) -> str:
    """The table, in Markdown."""
    lines = ["| " + " | ".join(HEADING) + " |", "|---" * len(HEADING) + "|"]
    for name, cases in sets.items():
        right = sum(case.right for case in cases)
        for grader in ("ours", *peers):
            said = ask_ours(cases) if grader == "ours" else ask_peer(grader, cases)
            cells = [f"{name} ({right} right, {len(cases) - right} wrong)", grader, *figures(cases, said)]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--peers", nargs="*", default=installed_peers(), choices=list(PEERS), help="Peers (those installed)."
    )
    parser.add_argument(
        "--suites", type=Path, help="Folder of peers' suites, as `python -m bench.grader_suites` fetches them."
    )
    options = parser.parse_args()
    sets = case_sets()
    if options.suites is not None:
        from bench.grader_suites import read_suites

        sets |= read_suites(options.suites)
    print(table(sets, options.peers))


if __name__ == "__main__":
    main()
