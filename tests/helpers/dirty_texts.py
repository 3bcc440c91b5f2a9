"""Texts with near-duplicates, and the slow and obvious way to find them."""

import json
import random
from fractions import Fraction
from pathlib import Path

from circuitseer_trl.pool.word_ngrams import WORD


def grams(text: str, size: int) -> set[tuple[str, ...]]:
    words = WORD.findall(text.lower())
    if len(words) < size:
        return {tuple(words)} if words else set()
    return {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}


def brute_force_duplicates(texts: list[str], similarity: float) -> dict[int, int]:
    kept: list[int] = []
    found = {}
    for place, text in enumerate(texts):
        own = grams(text, 5)
        for other in kept:
            known = grams(texts[other], 5)
            if own and known and Fraction(len(own & known), len(own | known)) >= Fraction(str(similarity)):
                found[place] = other
                break
        else:
            kept.append(place)
    return found


def some_texts(number: int, seed: int) -> list[str]:
    """Texts of few words, many of which are another one with words changed, added or cut off."""
    chance = random.Random(seed)
    texts: list[str] = []
    for _ in range(number):
        if texts and chance.random() < 0.6:
            words = chance.choice(texts).split()
            for _ in range(chance.randint(0, 3)):
                words[chance.randrange(len(words))] = chance.choice("abcde")
            words = words[: chance.choice([len(words), len(words) - 1])] or ["a"]
        else:
            words = [chance.choice("abcdefghij") for _ in range(chance.randint(1, 30))]
        texts.append(" ".join(words))
    return texts


def write_problems(path: Path, problems: list[str], column: str = "problem") -> str:
    rows = [{column: problem, "solution": f"So \\boxed{{{number}}}"} for number, problem in enumerate(problems)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)
