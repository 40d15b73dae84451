"""Tables that name what there is, and their places."""

import types

import pytest
import tensorflow as tf

from dreamer.config.choices import Choices
from dreamer.errors import UserError
from dreamer.nn import acting, dists, layers, optim, returns, schedules
from tests.support.layer_tools import INIT


def test_a_table_of_choices():
  table = Choices('norm', {'none': 1, 'layer': 2})
  assert table['layer'] == 2 and list(table) == ['none', 'layer']
  with pytest.raises(UserError) as info:
    table['layers']
  assert str(info.value) == (
      "norm: 'layers' is not allowed (did you mean layer?); allowed: none, "
      'layer')


SECTION = types.SimpleNamespace(
    kind='cubic', start=0, end=1, duration=1, lr=1, eps=1, clip=1)


@pytest.mark.parametrize('use, wanted', [
    (lambda: layers.Dense('x', 2, 3, INIT, norm='rmsx'),
     "norm: 'rmsx' is not allowed.*none, layer"),
    (lambda: layers.Conv('x', 2, 3, 4, 2, INIT, act='relux'),
     "act: 'relux' is not allowed .did you mean relu"),
    (lambda: optim.KINDS['adm'], 'kind of optimiser: .adm. .*adam'),
    (lambda: schedules.schedule(SECTION, 1), 'kind of schedule: .cubic.'),
    (lambda: returns.TRANSFORMS['tan'], 'reward_transform: .tan. .*tanh'),
    (lambda: acting.DTYPES['float8'], 'precision: .float8. .*bfloat16'),
    (lambda: dists.OneHot(tf.zeros([1, 2]), 'scores'),
     'gradient: .scores. .*straight_through')])
def test_no_name_is_taken_for_another_in_silence(use, wanted):
  with pytest.raises(UserError, match=wanted):
    use()
