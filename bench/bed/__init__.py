"""Do selection methods help? Hundreds of small trainings on the demo's world, where the truth about each row is known.

    python -m bench.bed run bench/bed/plans/first.yaml --workers 2

A replicate has a pool of its own and test problems of its own. Each method chooses rows of the pool, a copy of a base model is
trained on them, and its predictions of the worked solutions of the test problems are measured. Each training is a row of
`bench/bed/rows/PLAN/BASE-KIND-REPLICATE.jsonl`:

    plan, base, kind, replicate     what was run: the plan's name, the base model, the kind of pool, the number of the replicate
    method, budget                  the method's name in the plan, and what its rows were limited by, such as `tokens:16100`
    num_rows, training_tokens       rows trained on, and their tokens with the chat template
    exact, loss                     test problems whose worked solution is predicted without an error (teacher forcing), as a
                                    share; mean over problems of the loss of the worked solution, in nats per token
    exact_by_steps, loss_by_steps   the same for problems of 1, 2, ... 6 steps
    mean_steps, right_ratio         of the rows trained on: mean number of steps, share of right solutions
    distinct_ratio                  share of the rows trained on that are not copies of others of them
    overlap_with_random             share of the rows that the replicate's `random` has, too
    rho                             Spearman's rank correlations of the method's scores over the pool with the number of steps,
                                    the tokens of the problem and those of the solution, and with steps given each of the two
    seconds                         of the training and the measuring, by the clock; the only value that varies when a row is
                                    made again
    status                          `ok`, or what failed
"""
