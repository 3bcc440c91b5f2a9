"""Do the keys of TRL's SFTConfig have values that training can work with? SFTConfig takes them all; some fail hours later."""

from trl import SFTConfig

from circuitseer_trl.checks import check_count, check_number, check_positive, check_seed


def check_training_values(args: SFTConfig) -> None:
    """Raises for the first value that would stop a run after its work has begun, or make it do nothing."""
    check_seed("seed", args.seed, bits=32)  # as numpy takes
    if args.data_seed is not None:
        check_seed("data_seed", args.data_seed, bits=32)
    for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
        check_count(name, getattr(args, name))
    if args.max_steps != -1:
        check_count("max_steps", args.max_steps)
    else:
        check_positive("num_train_epochs", args.num_train_epochs)
    check_positive("adam_epsilon", args.adam_epsilon)
    for kind in ("save", "logging"):
        if getattr(args, f"{kind}_strategy") == "steps":
            check_positive(f"{kind}_steps", getattr(args, f"{kind}_steps"))
    for name in ("adam_beta1", "adam_beta2"):
        check_number(name, getattr(args, name), 0, 1)
    for name in ("learning_rate", "weight_decay", "max_grad_norm", "warmup_steps"):
        check_number(name, getattr(args, name), lowest=0)
    for name in ("max_length", "save_total_limit", "dataset_num_proc"):
        if getattr(args, name) is not None:
            check_count(name, getattr(args, name))
