"""What spinor raises: one base class, and two that are also a ValueError or a RuntimeError."""


class Error(Exception):
    """Something did not work. `subject` is which tensor, key, file or argument, `problem` what is wrong with it,
    `hint` what to do (it may be empty)."""

    def __init__(self, subject: str, problem: str, hint: str = ""):
        super().__init__(subject, problem, hint)
        self.subject, self.problem, self.hint = subject, problem, hint

    def __str__(self) -> str:
        return f"{self.subject}: {self.problem}" + (f"; {self.hint}" if self.hint else "")


class InputError(Error, ValueError):
    """What was asked for cannot be done: a value, a recipe, a model, a file."""


class ArgumentError(InputError, TypeError):
    """A function has no such argument, or takes another type."""


class RunError(Error, RuntimeError):
    """What was asked for is right, and it did not work: no space, no memory, no right to write, nothing to run it."""


class VerificationError(RunError):
    """Two checkpoints are not the same function; `result` says all that was compared."""

    result = None
