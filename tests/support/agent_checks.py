"""What holds for both agents, given what makes them and their batches."""

import numpy as np
import pytest

from dreamer.errors import UserError


def refuses(agent, arrays, words):
  """A checkpoint that doesn't fit is told in one line and changes nothing."""
  before = agent.state()
  with pytest.raises(UserError) as error:
    agent.restore(arrays)
  assert words in str(error.value) and '\n' not in str(error.value)
  after = agent.state()
  assert all(np.array_equal(before[key], after[key]) for key in before)


def video_is_truth_model_and_error(agent, batch):
  """Below each other; at most 6 sequences side by side."""
  video = agent.report(batch)['openloop']
  rows, length = batch['image'].shape[:2]
  rows, channels = min(rows, 6), batch['image'].shape[-1]
  assert video.shape == (length, 3 * 64, rows * 64, channels)
  assert video.dtype == np.uint8
  for row in range(rows):
    columns = video[:, :, 64 * row: 64 * (row + 1)].astype(int)
    truth, model, error = np.split(columns, 3, 1)
    assert np.array_equal(truth, batch['image'][row])
    assert np.abs((model - truth + 255) / 2 - error).max() <= 1


def pictures_do_not_change_learning(make_agent, make_batch):
  def state(pictures):
    agent = make_agent()
    for _ in range(pictures):
      agent.report(make_batch())
    agent.train(make_batch())
    return agent.state()
  one, two = state(0), state(2)
  assert [key for key in one if not np.array_equal(one[key], two[key])] == [
      'counter/reports']


def rows_are_independent(make_agent, make_obs):
  """Another image of one environment changes its action, no other's."""
  one, two = make_obs(), make_obs()
  two['image'] = two['image'].copy()
  two['image'][1] = 255 - two['image'][1] // 2
  before, after = (make_agent().policy(obs, None)[0] for obs in (one, two))
  np.testing.assert_allclose(before[[0, 2]], after[[0, 2]], atol=1e-6)
  assert np.abs(before[1] - after[1]).max() > 1e-6
