"""README's Python runs as it is written, and its commands are understood."""

import re
import shlex

import pytest

import dreamerv1
import dreamerv2
import dreamerv3
from dreamer.bench.__main__ import benchmarks
from dreamer.files import ROOT
from scores import __main__ as scores
from tests.support.strange_envs import NewStyle

TEXT = '\n'.join((ROOT / name).read_text() for name in (
    'README.md', 'dreamer/README.md'))
BLOCKS = re.findall(r'```python\n(.*?)```', TEXT, re.DOTALL)
EXAMPLES = [block for block in BLOCKS if '.train(' in block]


AGENTS = {x.entry.name: x for x in (dreamerv1, dreamerv2, dreamerv3)}
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r'```sh\n(.*?)```', TEXT, re.DOTALL)
    for line in block.replace('\\\n', ' ').splitlines()]
TRAIN = [x for x in COMMANDS if x[:2] == ['python', '-m'] and (
    x[2] in AGENTS and x[3] == 'train')]


@pytest.mark.parametrize('command', TRAIN, ids=' '.join)
def test_commands_that_train(command):
  """Their presets and keys exist, and what they say goes together."""
  agent = AGENTS[command[2]]
  config = agent.schema().parse(command[4:])
  agent.validate(config)
  assert config.logdir.startswith('runs/')


def test_each_way_to_train_has_a_command():
  configs = [AGENTS[x[2]].schema().parse(x[4:]) for x in TRAIN]
  assert {x.agent for x in configs if x.parallel} == set(AGENTS)
  assert any(x.update_ratio.least for x in configs)


@pytest.mark.parametrize(
    'command', [x for x in COMMANDS if x[:2] == ['./run.sh', 'bench']],
    ids=' '.join)
def test_commands_that_measure(command):
  filters = [x for x in command[2:] if not x.startswith('-')]
  assert all(any(x in name for name in benchmarks()) for x in filters)


@pytest.mark.parametrize(
    'command', [x for x in COMMANDS if x[:2] == ['./run.sh', 'scores']],
    ids=' '.join)
def test_commands_of_scores(command):
  end = command.index('>') if '>' in command else None
  assert scores.parse(command[2:end]).command == command[2]


def make_env():
  return NewStyle(60)


@pytest.mark.parametrize('env', [
    pytest.param(make_env, marks=pytest.mark.slow), NewStyle(60)])
def test_example(env, tmp_path, monkeypatch, capsys):
  """A user's environment, or what makes it, is trained in and evaluated."""
  monkeypatch.chdir(tmp_path)
  code, = EXAMPLES
  code = code.replace("['laptop']", "['debug'], steps=300")
  assert 'steps=300' in code
  code = code.replace('time_limit=200', 'time_limit=60').replace(
      'episodes=10', 'episodes=2')
  exec(code, {'make_env': env})
  assert "'mean':" in capsys.readouterr().out
  assert list((tmp_path / 'runs').glob('*/checkpoints/*.npz'))
