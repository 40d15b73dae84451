"""Optimisers by hand and in plain numpy; clipping and loss scale."""

import types

import numpy as np
import pytest
import tensorflow as tf

from dreamer.nn import clipping, optim


def make(values, loss_scale=None, lr=0.1, eps=0.1, clip=1e9, decay=0.0,
         kind='adam'):
  params = {key: tf.Variable(np.float32(x)) for key, x in values.items()}
  config = types.SimpleNamespace(lr=lr, eps=eps, clip=clip)
  return params, optim.KINDS[kind](
      'group', params, config, loss_scale, decay)


def numpy_adam(param, grads, lr, eps, clip):
  """Epsilon is added to sqrt(v), outside of the bias correction."""
  m, v = np.zeros_like(param), np.zeros_like(param)
  for t, grad in enumerate(grads, 1):
    grad = grad * min(1, clip / np.linalg.norm(grad))
    m = 0.9 * m + 0.1 * grad
    v = 0.999 * v + 0.001 * grad ** 2
    rate = lr * np.sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t)
    param = param - rate * m / (np.sqrt(v) + eps)
  return param


@pytest.mark.parametrize('eps', [1e-7, 1e-4, 0.1])
@pytest.mark.parametrize('clip', [1e9, 0.5])
def test_steps(eps, clip):
  rng = np.random.default_rng(0)
  start, grads = rng.normal(size=5), rng.normal(size=(7, 5))
  params, adam = make({'a': start[:2], 'b': start[2:]}, eps=eps, clip=clip)
  for grad in grads:
    grad = np.float32(grad)
    adam.apply({'a': tf.constant(grad[:2]), 'b': tf.constant(grad[2:])})
  ours = np.concatenate([params['a'], params['b']])
  theirs = numpy_adam(start, grads, 0.1, eps, clip)
  np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)
  assert int(adam.step) == 7


def test_clipping_is_a_part():
  """By parameter: norms 5 and 0 (counted as 1e-3), limit 0.1."""
  clip = clipping.Adaptive(0.1)
  params = [tf.Variable([3., 4.]), tf.Variable([0., 0.])]
  grads = [tf.constant([0.6, 0.8]), tf.constant([1e-4, 0.])]
  whole = [1 / 2, 1]  # 0.1 * 5 / 1; 1e-4 is all that 0.1 * 1e-3 allows
  np.testing.assert_allclose(clip.factors(params, grads, None), whole, 1e-6)
  more = [tf.constant([6., 8.]), tf.constant([0., 2e-3])]
  np.testing.assert_allclose(
      clip.factors(params, more, None), [1 / 20, 1 / 20], 1e-6)
  assert clipping.Adaptive(0).factors(params, grads, None) == [1, 1]
  both = clipping.GlobalNorm(1).factors(params, grads, tf.constant(4.))
  np.testing.assert_allclose(both, [1 / 4, 1 / 4])

  class Own(optim.SGD):
    clipping = clipping.Adaptive

  config = types.SimpleNamespace(lr=1.0, eps=0, clip=0.1)
  group = Own('own', {'a': params[0]}, config)
  group.apply({'a': tf.constant([6., 8.])})
  np.testing.assert_allclose(params[0], [3 - 0.3, 4 - 0.4], rtol=1e-6)


# The parameter 1 after gradients 2, -1 and 0.5, lr 0.1, epsilon 1e-5.
# adam    m = .2, .08, .122; v = .004, .004996, .00524100
#         p -= .1 sqrt(1 - .999^t) / (1 - .9^t) m / sqrt(v)
#           = .1 (.0316/.1) .2/.0632, .1 (.0447/.19) .08/.0707, ...
# adamax  v = max(.999 v, |g|) = 2, 1.998, 1.996
#         p -= .1 / (1 - .9^t) m / v = .1/.1 .2/2, .1/.19 .08/1.998, ...
# nadam   b = .9 (1 - .96^(.004 t) / 2) = .450073, .450147, .450220, ...
#         c = .450073, .202599, .0912143, ...; v' = 4, 2.49925, 1.7487
#         n = 2 + .450147 .2 / (1 - .202599) = 2.11290,
#             -.549853/.797401 + .450220 .08/.908786 = -.649924, ...
#         p -= .1 n / sqrt(v') = .1 2.11290/2, .1 -.649924/1.58090, ...
# sgd     p -= .1 g
# momentum  velocity = -.2, .9 -.2 + .1 = -.08, .9 -.08 - .05 = -.122
WORKED = {
    'adam': [.900016, .873386, .839348],
    'adamax': [.900001, .878927, .856373],
    'nadam': [.894355, .935466, .908260], 'sgd': [.8, .9, .85],
    'momentum': [.8, .72, .598]}
SLOTS = {'adam': {'m': .122, 'v': .00524094},
         'adamax': {'m': .122, 'v': 1.996002},
         'nadam': {'m': .122, 'v': .00524094}, 'sgd': {},
         'momentum': {'velocity': -.122}}


def test_which_kinds_there_are():
  """LaProp, of other settings, is compared with its release: v3_misc."""
  assert set(optim.KINDS) == {*WORKED, 'laprop'}


@pytest.mark.parametrize('kind', WORKED)
class TestEveryKind:

  @pytest.mark.parametrize('graph', [False, True])
  def test_worked_example(self, kind, graph):
    params, optimizer = make({'a': [1.0]}, eps=1e-5, kind=kind)
    apply = tf.function(optimizer.apply) if graph else optimizer.apply
    found = []
    for grad in (2.0, -1.0, 0.5):
      apply({'a': tf.constant([grad])})
      found.append(float(params['a'][0]))
    np.testing.assert_allclose(found, WORKED[kind], atol=1e-6)
    slots = {key: float(x['a'][0]) for key, x in optimizer.slots.items()}
    assert slots == pytest.approx(SLOTS[kind], rel=1e-5)
    assert int(optimizer.step) == 3

  def test_clipping_comes_first(self, kind):
    whole, clipped = (make({'a': [0.], 'b': [0.]}, clip=clip, kind=kind)
                      for clip in (0.0, 1.0))
    for (_, optimizer), scale in ((whole, 0.2), (clipped, 1.0)):
      for _ in range(2):
        metrics = optimizer.apply({'a': tf.constant([3. * scale]),
                                   'b': tf.constant([4. * scale])})
    assert float(metrics['grad_norm/group']) == 5.0
    for key in 'ab':
      np.testing.assert_allclose(whole[0][key], clipped[0][key], rtol=1e-5)

  def test_clip_zero_is_none(self, kind):
    moved = []
    for clip in (0.0, 1e9):
      params, optimizer = make({'a': [1.]}, clip=clip, kind=kind)
      optimizer.apply({'a': tf.constant([300.])})
      optimizer.apply({'a': tf.constant([-50.])})
      moved.append(float(params['a'][0]))
    assert moved[0] == pytest.approx(moved[1], rel=1e-6)

  def test_decay_before_the_step(self, kind):
    moved = []
    for decay in (0.0, 0.25):
      params, optimizer = make({'a': [4.]}, decay=decay, kind=kind)
      optimizer.apply({'a': tf.constant([1.])})
      moved.append(float(params['a'][0]) - 4 * (1 - decay))
    assert moved[0] == pytest.approx(moved[1], rel=1e-5) != 0

  def test_gradients_that_are_not_finite_change_nothing(self, kind):
    params, optimizer = make({'a': [1., 2.]}, 8.0, decay=.1, kind=kind)
    state = lambda: {
        key: x.numpy() for key, x in {**params, **optimizer.variables}.items()
        if not key.endswith(('loss_scale', 'good'))}
    optimizer.apply({'a': tf.constant([1., 1.])})
    before = state()
    optimizer.apply({'a': tf.constant([np.nan, 1.])})
    for key, value in state().items():
      assert np.array_equal(value, before[key]), key
    optimizer.apply({'a': tf.constant([1., 1.])})
    assert not np.array_equal(state()['a'], before['a'])

  def test_a_copy_of_the_variables_continues_to_the_bit(self, kind):
    """As a checkpoint does."""
    params, optimizer = make({'a': [1., 2.]}, kind=kind)
    for grad in (2.0, -1.0):
      optimizer.apply({'a': tf.constant([grad, 1.])})
    others, other = make({'a': params['a']}, kind=kind)
    assert set(other.variables) == set(optimizer.variables)
    for key, value in optimizer.variables.items():
      other.variables[key].assign(value)
    for each in (optimizer, other):
      each.apply({'a': tf.constant([.5, .1])})
    assert np.array_equal(params['a'], others['a'])


class TestDecay:

  @pytest.mark.parametrize('lr', [0.1, 1e-30])
  def test_every_parameter_shrinks_whatever_the_learning_rate(self, lr):
    params, adam = make(
        {'kernel': [4.0], 'bias': [-2.0], 'unused': [1.0]}, lr=lr, decay=0.25)
    adam.apply({'kernel': tf.constant([1.0]), 'bias': tf.constant([-1.0]),
                'unused': tf.constant([0.0])})
    # m = .1 g and v = .001 g^2, without a part of the decay.
    step = lr * np.sqrt(.001) / (np.sqrt(.001) + .1)
    found = [float(params[key][0]) for key in ('kernel', 'bias', 'unused')]
    np.testing.assert_allclose(found, [3 - step, -1.5 + step, .75], rtol=1e-5)

  def test_decay_comes_before_the_step(self):
    # After it, the step itself would shrink too: .75 (4 - s), not 3 - s.
    params, adam = make({'a': [4.0]}, lr=10.0, eps=1e-12, decay=0.25)
    adam.apply({'a': tf.constant([1.0])})
    np.testing.assert_allclose(params['a'], [3.0 - 10.0], rtol=1e-5)

  def test_moments_do_not_see_it(self):
    moments = []
    for decay in (0.0, 0.25):
      _, adam = make({'a': [4.0]}, decay=decay)
      adam.apply({'a': tf.constant([1.0])})
      moments.append([float(x['a'][0]) for x in adam.slots.values()])
    assert moments[0] == moments[1]

  def test_skipped_updates_do_not_decay(self):
    params, adam = make({'a': [4.0]}, decay=0.25)
    adam.apply({'a': tf.constant([np.nan])})
    assert float(params['a'][0]) == 4.0


def test_epsilon_is_outside_the_bias_correction():
  # First step, gradient 1: m = .1, v = .001, rate = lr sqrt(.001) / .1.
  params, adam = make({'a': [0.]}, lr=1.0, eps=1.0)
  adam.apply({'a': tf.constant([1.0])})
  np.testing.assert_allclose(
      params['a'], [-np.sqrt(.001) / (np.sqrt(.001) + 1)], rtol=1e-4)


def test_norm_before_clipping_is_reported():
  _, adam = make({'a': [0.], 'b': [0.]}, clip=1.0)
  metrics = adam.apply({'a': tf.constant([3.]), 'b': tf.constant([4.])})
  assert float(metrics['grad_norm/group']) == 5.0
  np.testing.assert_allclose(adam.slots['m']['a'], [0.1 * 3 / 5], rtol=1e-5)
  np.testing.assert_allclose(adam.slots['m']['b'], [0.1 * 4 / 5], rtol=1e-5)


def test_small_gradients_are_not_scaled_up():
  _, adam = make({'a': [0.]}, clip=100.0)
  adam.apply({'a': tf.constant([1e-3])})
  np.testing.assert_allclose(adam.slots['m']['a'], [1e-4], rtol=1e-5)
  adam.apply({'a': tf.constant([0.0])})
  assert np.isfinite(adam.slots['m']['a'].numpy()).all()


@pytest.mark.parametrize('bad', [np.nan, np.inf])
@pytest.mark.parametrize('loss_scale', [None, 8.0])
def test_gradients_that_are_not_finite_change_nothing(bad, loss_scale):
  params, adam = make({'a': [1., 2.]}, loss_scale)
  adam.apply({'a': tf.constant([1., 1.])})
  before = {k: v.numpy() for k, v in adam.variables.items()
            if k.split('/')[1] in ('m', 'v', 'step')}
  kept = params['a'].numpy()
  metrics = adam.apply({'a': tf.constant([bad, 1.])})
  assert float(metrics['skipped/group']) == 1
  assert np.array_equal(params['a'], kept)
  for key, value in before.items():
    assert np.array_equal(adam.variables[key], value), key
  assert float(adam.apply({'a': tf.ones(2)})['skipped/group']) == 0


class TestLossScale:

  def test_absent_for_float32(self):
    _, adam = make({'a': [0.]})
    metrics = adam.apply({'a': tf.constant([np.nan])})
    assert 'loss_scale/group' not in metrics
    assert float(adam.loss_scale) == 1

  def test_gradients_are_those_of_the_loss(self):
    params, adam = make({'a': [3.], 'unused': [1.]}, 1024.0)
    with tf.GradientTape(persistent=True) as tape:
      loss = tf.reduce_sum(params['a'] ** 2)
    grads = adam.gradients(tape, loss)
    np.testing.assert_allclose(grads['a'], [6.0])
    np.testing.assert_allclose(grads['unused'], [0.0])

  def test_scale_keeps_small_gradients(self):
    # 1e-9 is zero in float16, 1e-9 * 2^15 is not.
    def grad(scale):
      params, adam = make({'a': [1.]}, scale)
      with tf.GradientTape(persistent=True) as tape:
        half = tf.cast(tf.cast(params['a'], tf.float16), tf.float32)
        loss = 1e-9 * tf.reduce_sum(half)
      return float(adam.gradients(tape, loss)['a'][0])
    assert grad(1.0) == 0.0
    np.testing.assert_allclose(grad(32768.0), 1e-9, rtol=1e-2)

  def test_overflow_halves(self):
    _, adam = make({'a': [0.]}, 8.0)
    for scale in (4, 2, 1, 1):  # and not below 1
      metrics = adam.apply({'a': tf.constant([np.inf])})
      assert float(metrics['loss_scale/group']) == scale

  def test_doubles_after_2000_good_steps(self):
    _, adam = make({'a': [0.]}, 8.0)
    good, bad = {'a': tf.constant([1.])}, {'a': tf.constant([np.inf])}
    assert optim.GROWTH_UPDATES == 2000
    adam.good.assign(1998)
    assert float(adam.apply(good)['loss_scale/group']) == 8
    assert float(adam.apply(good)['loss_scale/group']) == 16
    assert int(adam.good) == 0
    adam.good.assign(1999)
    assert float(adam.apply(bad)['loss_scale/group']) == 8
    assert int(adam.good) == 0
    assert float(adam.apply(good)['loss_scale/group']) == 8


def test_variables_have_the_names_of_a_checkpoint():
  _, adam = make({'net/h0/kernel': np.zeros((2, 3))})
  assert sorted(adam.variables) == [
      'group/good', 'group/loss_scale', 'group/m/net/h0/kernel', 'group/step',
      'group/v/net/h0/kernel']
