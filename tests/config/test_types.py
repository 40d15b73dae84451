"""Types of settings: what a checker is told is what the YAML says."""

import pytest

from dreamer.config import agents, types
from dreamer.errors import UserError


def test_files_are_up_to_date():
  """What CI checks as well."""
  types.main(['--check'])


def test_text():
  code = types.text(agents.schema('dreamerv2'), 'DreamerV2')
  assert 'class Kl(Protocol):\n  scale: float\n  balance: float\n' in code
  assert "  free_by: Literal['mean', 'element']\n" in code
  assert '  kl: Kl\n' in code and '  horizon: int\n' in code
  assert 'lambda:' not in code  # no name in Python
  compile(code, 'settings.py', 'exec')


def test_sections_with_the_same_keys_share_a_class():
  code = types.text(agents.schema('dreamerv2'), 'DreamerV2')
  assert '  reward_norm: RewardNorm\n' in code
  assert code.count('  reward_norm: RewardNorm\n') == 2  # expl has one, too


def test_what_is_old_is_named(tmp_path, monkeypatch):
  monkeypatch.setattr(types, 'file', lambda agent: tmp_path / 'settings.py')
  with pytest.raises(UserError, match='settings.py: is not what the settings'):
    types.main(['dreamerv1', '--check'])
  types.main(['dreamerv1'])
  types.main(['dreamerv1', '--check'])
