"""The one exception that means "the input is wrong", as opposed to "the program is wrong"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class UserError(Exception):
    """Bad input: says what is wrong, where, and what to do next, in one line.

    The command line prints it as it is and exits with code 2, without a traceback.
    """

    def __init__(self, what: str, where: object = None, fix: str | None = None) -> None:
        self.what, self.where, self.fix = what, where, fix
        parts = [what if where is None else f"{where}: {what}"]
        if fix:
            parts.append(fix)
        super().__init__(". ".join(" ".join(part.split()).rstrip(".") for part in parts))


def check_known(what: str, name: object, known: Iterable[str]) -> None:
    """Raise a :class:`UserError` unless a name is one of those that are known; ``what`` is the kind of thing that it names."""
    known = list(known)
    if name not in known:
        raise UserError(f"unknown {what} {name!r}", fix=f"Choose one of {', '.join(known)}")


def check_unused(given: Mapping[str, object], why: str, where: object = None, fix: str = "Leave it out") -> None:
    """Raise a :class:`UserError` where something is given (neither None nor False) that would change nothing; ``why`` begins with
    "for", "with", "without" or "beside"."""
    if useless := [name for name, value in given.items() if value is not None and value is not False]:
        raise UserError(f"{', '.join(useless)} mean{'s' if len(useless) == 1 else ''} nothing {why}", where=where, fix=fix)
