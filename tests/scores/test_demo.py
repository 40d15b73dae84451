"""The main job, whole, at the size of tests."""

import json

from scores import demo
from scores.__main__ import main


def test_main_job(tmp_path, monkeypatch, capsys):
  """Each score stands beside random play, which `eval` then measures too."""
  monkeypatch.setattr(demo, 'OPTIONS', [
      '--configs', 'debug', '--task', 'dummy_continuous', '--steps', '400',
      '--envs.worker', 'inline'])
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
