"""The one exception that means: the user gave us something we cannot use."""


class UserError(ValueError):
    """Bad usage, configuration or data.

    The message is one line naming what was found, what was expected and the
    cure. Launch scripts print it to stderr and exit with code 2.
    """
