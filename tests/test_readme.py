"""The README's Python runs as it is written, in the smallest size."""

import re
import shlex

import pytest

import dreamerv1
import dreamerv2
from dreamer.files import ROOT
from scores import __main__ as scores
from tests.support.strange_envs import NewStyle

BLOCKS = re.findall(
    r'```python\n(.*?)```', (ROOT / 'README.md').read_text(), re.DOTALL)
EXAMPLES = [block for block in BLOCKS if '.train(' in block]


SHELL = [
    line.split('#')[0].strip() for block in re.findall(
        r'```sh\n(.*?)```', (ROOT / 'README.md').read_text(), re.DOTALL)
    for line in block.replace('\\\n', ' ').splitlines()]


def test_training_commands_are_accepted():
  """Presets, keys and values, and what agents check before a start."""
  agents = {'dreamerv1': dreamerv1, 'dreamerv2': dreamerv2}
  found = 0
  for line in SHELL:
    words = shlex.split(line)
    if words[:2] == ['python', '-m'] and words[3:4] == ['train'] and (
        words[2] in agents):
      agent, found = agents[words[2]], found + 1
      agent.validate(agent.schema().parse(words[4:]))
  assert found >= 6


def test_commands_of_scores_are_accepted():
  found = 0
  for line in SHELL:
    words = shlex.split(line.split('>')[0])
    if words[:2] == ['./run.sh', 'scores']:
      scores.parse(words[2:])
      found += 1
  assert found >= 4


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
