"""The one exception that means "the user can mend this"."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input, told as cause and remedy in words.

    Scripts print the message without a traceback and exit with status 2; anything else that is raised is our fault.
    """
