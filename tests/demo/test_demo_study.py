"""The demo's study: its points, and that its methods do not see which solutions are wrong."""

from pathlib import Path

import pytest

from circuitseer_trl.demo import word_problems
from circuitseer_trl.named_files import find_file
from circuitseer_trl.studies.study_file import read_study
from circuitseer_trl.studies.study_plan import StudyPlan, plan_study


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyPlan:
    monkeypatch.chdir(tmp_path)
    word_problems.main(["--output_dir", "runs/demo/data"])
    return plan_study(read_study(find_file("demo/study", ("studies",))), tmp_path / "runs" / "demo" / "study")


def test_its_points(plan: StudyPlan):
    counts: dict[str, int] = {}
    for point in plan.points:
        counts[point.method] = counts.get(point.method, 0) + 1
    methods = ("random", "longest", "max_loss", "ifd", "circuitseer", "right_only")
    assert counts == {"zero_shot": 1, **dict.fromkeys(methods, 5)}
    kinds = [task.kind for task in plan.tasks]
    assert (kinds.count("find-heads"), kinds.count("score-pool")) == (1, 6)


def test_no_method_reads_the_category(plan: StudyPlan):
    """`diversity` and strata would see it."""
    for point in plan.points:
        selection = point.settings["selection"]
        assert selection.get("method") not in ("diversity", "select2reason", "rds", "influence", "infra")
        assert selection.get("sampling", "soft") in ("soft", "top_k")
