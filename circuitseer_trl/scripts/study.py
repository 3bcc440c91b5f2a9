"""Runs methods x seeds x models x budgets, shares heads and scores among them, and compares them; skips what is finished.

    circuitseer study STUDY.yaml --output_dir runs/x --workers 2
    circuitseer study STUDY.yaml --output_dir runs/x --only random.s0.t0      # one point, as for an array of jobs

STUDY.yaml is a file, or a name that `circuitseer recipes` lists under studies. docs/studies.md describes its keys.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from circuitseer_trl.command_line import CommandParser, run_command


def parser() -> CommandParser:
    result = CommandParser(prog="circuitseer study", description=__doc__)
    result.add_argument("study", metavar="STUDY", help="The file of the study.")
    result.add_argument("--output_dir", type=Path, metavar="DIR", help="Folder of the study (that of the file).")
    result.add_argument("--workers", type=int, default=1, metavar="N", help="Number of points at a time.")
    result.add_argument("--only", nargs="+", default=[], metavar="POINT", help="Run these points alone.")
    result.add_argument(
        "--dry_run", action="store_true", help="Print points, what they share and what is left to do, and stop."
    )
    result.add_argument(
        "--list_points", action="store_true", help="Print the names of the points, one a line, and stop."
    )
    result.add_argument(
        "--accelerate_config",
        metavar="CONFIG",
        help="Start the steps, one at a time, with `accelerate launch` and this file or name (zero3, ddp, cpu).",
    )
    result.add_argument("--num_processes", type=int, metavar="N", help="Number of processes of that launch.")
    result.add_argument(
        "--executor",
        choices=["ranks", "ray"],
        default="ranks",
        help="ray: actors of a Ray cluster find heads and score.",
    )
    result.add_argument("--num_actors", type=int, metavar="N", help="Number of Ray actors.")
    result.add_argument(
        "--ray_address", metavar="HOST:PORT", help="A Ray cluster to join, in place of one that is started."
    )
    return result


def main(args: Sequence[str] | None = None) -> int:
    options = parser().parse_args(args)
    from circuitseer_trl.checks import check_count
    from circuitseer_trl.configs import ExecutorConfig
    from circuitseer_trl.extras import require_extra
    from circuitseer_trl.locks import writing_to
    from circuitseer_trl.named_files import find_file
    from circuitseer_trl.studies.reproduce import check_processes
    from circuitseer_trl.studies.study_file import read_study
    from circuitseer_trl.yaml_files import read_yaml

    check_count("workers", options.workers)
    execution = ExecutorConfig(options.executor, options.num_actors, options.ray_address)
    file = find_file(options.study, ("studies",))
    launch: tuple[Path | None, int | None] | None = None
    if options.accelerate_config is not None or options.num_processes is not None:
        check_processes(options.num_processes, options.accelerate_config)
        config, settings = None, dict[str, Any]()
        if options.accelerate_config is not None:
            config = find_file(options.accelerate_config, ("accelerate_configs",))
            settings = read_yaml(config)
        if settings.get("distributed_type") == "DEEPSPEED":
            require_extra("train", str(config), "deepspeed")
        launch = (config, options.num_processes or settings.get("num_processes"))
        if options.workers > 1:
            raise ValueError("With `accelerate launch` there is one step at a time. Leave `--workers` out.")
        if options.executor == "ray":
            raise ValueError(
                "The ranks of `accelerate launch` divide the shards themselves. Leave `--executor ray` out."
            )
    study = read_study(file)
    if options.output_dir is None and study.output_dir is None:
        raise ValueError("A study needs a folder: set `--output_dir`, or `output_dir` in its file.")
    root = options.output_dir or Path(str(study.output_dir))
    require_extra("eval", "Evaluation", "math_verify")
    from circuitseer_trl.studies import run_study
    from circuitseer_trl.studies.study_plan import plan_study

    plan = plan_study(study, root)
    if options.list_points:
        print("\n".join(point.name for point in plan.points))
        return 0
    tasks = run_study.chosen_tasks(plan, options.only)
    run_study.check_folder(root, plan)
    num_processes = (launch[1] if launch else None) or 1
    with ExitStack() as stack:
        if not options.dry_run:
            for name in options.only or ["study"]:  # several arrays may do different points at a time
                stack.enter_context(writing_to(root, name))
        done = plan.finished(tasks, num_processes)
        if len(done) < len(tasks) and (status := run_study.check_steps(study, plan)):
            return status
        if options.dry_run:
            from circuitseer_trl.studies.study_cost import print_selection_costs
            from circuitseer_trl.studies.study_power import power_sentence

            print(run_study.overview(root, plan, tasks, done))
            finished = [point.name for point in plan.points if point.tasks[-1] in done]
            print(power_sentence(study, root, run_study.plan_record(file, study, plan), finished), flush=True)
            return print_selection_costs(plan, [task for task in tasks if task.name not in done])
        run_study.write_plan(root, file, study, plan)
        if done:
            print(f"{len(done)} of {len(tasks)} steps were finished before.", flush=True)
        if len(done) < len(tasks):
            tasks = stack.enter_context(run_study.executed(tasks, execution))
        good = len(done) == len(tasks) or run_study.run_tasks(root, tasks, done, options.workers, launch)
        if not options.only:
            from circuitseer_trl.artifacts import write_text
            from circuitseer_trl.pages.study_page import study_page
            from circuitseer_trl.pages.study_table import study_table
            from circuitseer_trl.pages.study_views.answer_sentences import answer
            from circuitseer_trl.pages.study_views.study_files import read_study_files
            from circuitseer_trl.studies.study_results import write_results
            from circuitseer_trl.studies.tasks import PAGE

            unfinished = [] if good else run_study.unevaluated(plan, num_processes)
            print(study_table(write_results(root, unfinished)))
            write_text(root / PAGE, study_page(root, root / PAGE))
            print("\n".join(["", *answer(read_study_files(root)), "", f"Page: {root / PAGE}"]))
        return 0 if good else 1


if __name__ == "__main__":
    sys.exit(run_command(main))
