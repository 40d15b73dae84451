"""Tables of what a name of a setting stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn, TypeVar

from dreamer.config.rules import nearest, show
from dreamer.errors import ConfigError

T = TypeVar('T')


class Choices(dict[str, T]):
  """What each name stands for; any other one raises and says which there are.

  So nothing is left out in silence, whoever asks: a setting, or the code of a
  new paper.

  Args:
    key: What is chosen, for the message.
    known: {name: what it stands for}.
  """

  def __init__(self, key: str, known: Mapping[str, T]) -> None:
    super().__init__(known)
    self.key = key

  def __missing__(self, name: str) -> NoReturn:
    raise ConfigError(f'{self.key}: {show(name)} is not allowed'
                      f'{nearest(name, self)}; allowed: {", ".join(self)}')
