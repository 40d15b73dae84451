"""The README's Python runs as it is written, in the smallest size."""

import re

import pytest

from dreamer.files import ROOT
from tests.support.strange_envs import NewStyle

BLOCKS = re.findall(
    r'```python\n(.*?)```', (ROOT / 'README.md').read_text(), re.DOTALL)
EXAMPLES = [block for block in BLOCKS if '.train(' in block]


def make_env():
  return NewStyle(60)


def test_lengths_of_the_examples_are_those_of_minutes():
  for block in EXAMPLES:
    found = {}
    code = block.split('.train(')[0].rsplit('\n', 1)[0]
    exec(code, found)
    assert found['config'].steps <= 40_000 and found['config'].prefill <= 8000


def test_both_agents_have_an_example_of_five_lines():
  assert ['dreamerv1' in block for block in EXAMPLES] == [True, False]
  assert all(len(block.splitlines()) == 5 for block in EXAMPLES)


@pytest.mark.parametrize('index, env', [
    pytest.param(0, make_env, marks=pytest.mark.slow),
    pytest.param(1, make_env, marks=pytest.mark.slow), (1, NewStyle(60))])
def test_example(index, env, tmp_path, monkeypatch, capsys):
  """A user's environment, or what makes it, is trained in and evaluated."""
  monkeypatch.chdir(tmp_path)
  code = EXAMPLES[index].replace("['laptop']", "['debug'], steps=300")
  assert 'steps=300' in code
  code = code.replace('time_limit=200', 'time_limit=60').replace(
      'episodes=10', 'episodes=2')
  exec(code, {'make_env': env})
  assert "'mean':" in capsys.readouterr().out
  assert list((tmp_path / 'runs').glob('*/checkpoints/*.npz'))
