"""The standing trial: bad input, damaged files and failed writes. Nothing of them may lead to a number without a word.

`python -m tests.trial` runs all of it and prints a table; `make test` runs a part, `make slow` the rest.
"""
