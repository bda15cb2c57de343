"""The root of the errors that people can mend."""


class UserError(Exception):
    """Something is wrong with data, options or what is around; the message says what to do."""
