"""The errors that a user's input can cause; the command line prints them on one line."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: where, what was expected, what was found.
    """


class NetworkError(InputError):
    """An integer network breaks a rule of :mod:`abc_hw.network`.

    Parameters
    ----------
    where : str
        The layer and field, for example ``"conv1.thresholds"``.
    expected : str
        The rule.
    found : object
        What stood there instead.
    """

    def __init__(self, where: str, expected: str, found: object) -> None:
        self.where = where
        self.expected = expected
        self.found = found
        super().__init__(f"{where}: expected {expected}, found {found}")
