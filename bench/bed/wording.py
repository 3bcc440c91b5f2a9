"""How are methods, measures and differences worded in the ledger?"""

from bench.bed.differences import Difference

# Name, unit, scale and digits of each measure.
SHOWN = {"exact": ("exact match", "points", 100.0, 1), "log_loss": ("log of the loss", "", 1.0, 3)}
WORDS = {
    "random": "random rows",
    "longest": "the longest problems",
    "circuitseer": "the paper's heads",
    "contrast": "contrast heads",
    "contrast's problem lengths": "rows matched in problem length",
    "contrast's solution lengths": "rows matched in solution length",
    "contrast's steps": "rows matched in steps",
    "targets": "the target problems alone",
    "targets + random": "the target problems and random rows",
    "targets + gradients": "the target problems and rows of similar gradients",
    "gradients": "rows of similar gradients",
    "circuit gradients": "rows of similar gradients of the heads",
    "rds": "rows of similar hidden states",
    "probe + longest": "the probe and the longest problems",
}


def words(name: str) -> str:
    return WORDS.get(name, f"`{name}`")


def listed(texts: list[str], last: str) -> str:
    """Texts with commas, and a word before the last."""
    return " ".join([", ".join(texts[:-1]), last, texts[-1]]) if len(texts) > 1 else texts[0]


def amount(measure: str, value: float, *, signed: bool = True) -> str:
    _, unit, scale, digits = SHOWN[measure]
    sign = "+" if signed else ""
    return f"{value * scale:{sign}.{digits}f}" + (f" {unit}" if unit and not signed else "")


def difference_text(each: Difference) -> str:
    text = amount(each.measure, each.mean)
    return (
        text if each.interval is None else f"{text} [{', '.join(amount(each.measure, end) for end in each.interval)}]"
    )
