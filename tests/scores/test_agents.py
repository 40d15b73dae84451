"""Several agents side by side."""

import pytest

from dreamer.errors import UserError
from scores import agents, runs
from tests.support.scores_tools import run, write_lines, write_run

TASK = 'dmc_walker_stand'


def write(folder, agent, seed, gain, cpu=None):
  """A run whose return is `gain` per step, and `cpu` seconds per step."""
  logdir = write_run(folder / f'{agent}{seed}', [], seed, agent, 1000,
                     ['dmc' if agent == 'dreamerv1' else 'dmc_vision'],
                     task=TASK, action_repeat=2)
  write_lines(logdir / 'metrics.jsonl', [
      {'step': step, 'agent_steps': step // 2, 'train/return': gain * step,
       **({'cpu': cpu * step} if cpu else {})}
      for step in range(100, 1001, 100)])
  return logdir


@pytest.fixture
def logdirs(tmp_path):
  return [write(tmp_path, agent, seed, gain + seed, cpu)
          for agent, gain, cpu in (
              ('dreamerv1', 1, 0.6), ('dreamerv2', 3, 1.2))
          for seed in range(3)]


def test_at_the_same_steps(logdirs):
  """Of 1000 steps the episodes at 800, 900 and 1000 count."""
  table, = agents.tables(runs.load(logdirs, 'training'), agents.STEPS)
  assert table.header[2:] == ('1k',)
  assert [row[0] for row in table.rows] == ['dreamerv1', 'dreamerv2']
  assert [row[2].split()[0] for row in table.rows] == ['1800.0', '3600.0']


def test_at_the_same_cpu_time(logdirs):
  """In 600 s the second has come half as far: 400 and 500 of 1000 steps."""
  table, = agents.tables(runs.load(logdirs, 'training'), agents.CPU)
  assert table.header[2:] == ('10.0 min',)
  assert [row[2].split()[0] for row in table.rows] == ['1800.0', '1800.0']


def test_command(logdirs, capsys):
  run('agents', *logdirs, '--steps', 400, 800, '--cpu', 5)
  text = capsys.readouterr().out
  assert 'by environment steps' in text and '5.0 min' in text
  assert '400' in text and '800' in text


def test_cpu_time_that_is_not_known(tmp_path, logdirs):
  old = write(tmp_path / 'old', 'dreamerv3', 0, 1)
  table, = agents.tables(runs.load([*logdirs, old], 'training'), agents.CPU)
  assert not table.rows and 'dreamerv30' in table.notes[0]


@pytest.mark.parametrize('which, steps, wanted', [
    ([0, 1], None, 'runs of several agents'),
    ([0, 3], [5000], 'up to 1,000'), ([0, 3], [90], 'no episode')])
def test_refused(logdirs, which, steps, wanted):
  found = runs.load([logdirs[i] for i in which], 'training')
  with pytest.raises(UserError, match=wanted):
    agents.tables(found, agents.STEPS, steps)
