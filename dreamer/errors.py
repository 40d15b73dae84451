"""What a user can get wrong, answered in one line."""


class UserError(Exception):
  """What a user can get wrong; one line that says key, value and remedy."""


class ConfigError(UserError):
  """A setting that can't be used."""
