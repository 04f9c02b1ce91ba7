"""What a recipe's training choices must keep to, said before anything is decoded."""

from timelift.records import Optimisation, TimeliftError, UsageError

_AT_LEAST = {
    "learning_rate": 0,
    "new_rate": 0,
    "lifted_rate": 0,
    "kept_rate": 0,
    "momentum": 0,
    "weight_decay": 0,
    "warmup_epochs": 0,
    "step_epochs": 1,
    "step_factor": 0,
    "plateau_patience": 1,
    "epochs": 1,
    "steps": 0,
    "validate_every": 1,
    "batch_size": 1,
    "accumulate": 1,
    "freeze_lifted_steps": 0,
    "freeze_kept_steps": 0,
    "label_smoothing": 0,
    "mixup": 0,
    "ema": 0,
    "clip_gradient": 0,
    "max_norm": 0,
    "early_stopping_patience": 0,
}
_BELOW_ONE = ("momentum", "label_smoothing", "ema")


def check_choices(choices: Optimisation, has_validation: bool) -> None:
    """Refuse training choices that mean nothing, or that need a validation split where there is none.

    Raises:
        UsageError: naming the choice, its value and what is possible.
    """
    for name, least in _AT_LEAST.items():
        if not getattr(choices, name) >= least:  # this way round for a value that is not a number, too
            raise UsageError(f"recipe: training.{name} is {getattr(choices, name)}, wanted at least {least}")
    for name in _BELOW_ONE:
        if getattr(choices, name) >= 1:
            raise UsageError(f"recipe: training.{name} is {getattr(choices, name)}, wanted less than 1")
    if choices.dropout is not None and not 0 <= choices.dropout < 1:
        raise UsageError(f"recipe: training.dropout is {choices.dropout}, wanted 0 or more and less than 1")
    if not has_validation:
        _check_needs_no_validation(choices)


def _check_needs_no_validation(choices: Optimisation) -> None:
    remedy = "give a validation split"
    if choices.schedule in ("plateau", "stall"):
        raise UsageError(
            f"schedule {choices.schedule!r} follows the validation accuracy: {remedy}, or use 'cosine'"
        )
    if choices.early_stopping_patience > 0:
        raise UsageError(
            f"early_stopping_patience={choices.early_stopping_patience} follows the validation accuracy: "
            f"{remedy}, or set it to 0"
        )


def not_finite(what: str, where: str, factor: float, choices: Optimisation) -> TimeliftError:
    """The error of a training that went astray: what is not a number, where, and what to do.

    factor: what the schedule multiplies the learning rate by at that step.
    """
    remedies = ["lower learning_rate", "raise warmup_epochs", "set clip_gradient=1.0"]
    if choices.precision == "float16":
        remedies.append("use precision='bfloat16'")
    rate = f"learning rate {choices.learning_rate * factor:.3g}"
    return TimeliftError(f"{what} not finite in {where}, at {rate}: {', or '.join(remedies)}")
