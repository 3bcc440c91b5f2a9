"""Is this answer right? A grader for mathematics that needs nothing else of the package, and no torch."""

from circuitseer_trl.grading.extraction import extract_answer
from circuitseer_trl.grading.grader import Grader, Question, Verdict, grade_all
from circuitseer_trl.grading.shared import agrade, equivalent, grade

__all__ = ["Grader", "Question", "Verdict", "agrade", "equivalent", "extract_answer", "grade", "grade_all"]
