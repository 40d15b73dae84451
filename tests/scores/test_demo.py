"""The main job, whole, at the size of tests."""

import json

import dreamerv1
from scores import demo
from scores.__main__ import main


def test_main_job(tmp_path, monkeypatch, capsys):
  """Each score stands beside random play, which `eval` then measures too."""
  monkeypatch.setattr(demo, 'OPTIONS', [
      '--configs', 'debug', '--task', 'dummy_continuous', '--steps', '600',
      '--envs.worker', 'inline'])
  monkeypatch.setattr(demo, 'STEPS', 400)
  monkeypatch.delenv('DREAMER_RUN_SH', raising=False)
  monkeypatch.setattr(demo, 'EPISODES', 3)
  main(['demo', '--logdir', str(tmp_path / 'run')])
  out = capsys.readouterr()
  finals = {line['policy']: line for line in map(json.loads, (
      tmp_path / 'run' / 'eval.jsonl').read_text().splitlines())}
  assert list(finals) == ['random', 'untrained', 'trained']
  random = sum(finals['random']['returns'][:3]) / 3
  told = [line for line in out.err.splitlines() if line.startswith('step ')]
  assert told and all(
      f'of 1 episode; random play {random:,.1f}' in line for line in told)
  assert 'dummy_continuous, trained: score ' in out.out
  for end in ('report.html', 'report.png', '_openloop.gif', '_policy.gif'):
    assert f'{end}\n' in out.out
  assert 'Trains for 400 of the 600 steps' in out.out
  # All steps of the preset: by the command that the first run names.
  command = out.out.splitlines()[-1].split('python -m scores ')[1].split()
  main(command)
  again = capsys.readouterr().out
  assert 'Trains for 600 of the 600 steps' in again
  assert 'These were' not in again
  assert last_step(tmp_path / 'run') == 600
  # ./run.sh then goes on as the run was begun.
  config = dreamerv1.configure(['debug'], logdir=str(tmp_path / 'run'))
  assert demo.steps(config) == 600


def last_step(logdir):
  lines = (logdir / 'eval.jsonl').read_text().splitlines()
  return json.loads(lines[-1])['step']
