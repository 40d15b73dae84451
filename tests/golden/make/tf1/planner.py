"""The release's planner, on the state at the end of row 0."""
import contextlib

import numpy as np
import tensorflow as tf
from tf1.names import STATE

from dreamer import tools


def collection(config):
  """The release's settings for collecting episodes: planner and objective."""
  (found,) = config.train_collects.values()
  return found


def plans(made, notes, collect, overrides, action, normals, seed):
  """The arrays of cem.npz, under the parameters that the session holds.

  normals: [iterations, 1, candidates, horizon, A], or None to draw them.
  """
  iterations = overrides['planner_iterations']
  if normals is None:
    shape = (iterations, 1, overrides['planner_beams'],
             overrides['planner_horizon'], action)
    normals = np.random.RandomState(seed).randn(*shape).astype(np.float32)
  state = tools.nested.map(lambda x: x[:1, -1], notes.posterior)
  objective = tools.bind(collect.objective, graph=notes.graph)
  with _given(normals), tf.variable_scope('graph', use_resource=True):
    means = [collect.planner(
        notes.graph.cell, objective, state,
        notes.graph.embedded.shape[2:].as_list(), [action],
        graph=notes.graph, iterations=k + 1) for k in range(iterations)]
  names = dict(STATE, rnn_state='rnn_state')
  state, means = made.run([dict(state), means])
  found = {'normals': normals, 'plan': means[-1]}
  found.update({f'mean_after/{k + 1}': v for k, v in enumerate(means)})
  found.update({'state/' + names[k]: v for k, v in state.items()})
  return found


@contextlib.contextmanager
def _given(normals):
  """tf.random_normal inside a loop gives the normals of its iteration."""
  random_normal, while_loop = tf.random_normal, tf.while_loop
  index = [None]

  def counted(condition, body, *args, **kwargs):
    def counting(step, *state):
      index[0] = step
      return body(step, *state)
    return while_loop(condition, counting, *args, **kwargs)

  tf.while_loop = counted
  tf.random_normal = lambda shape: tf.reshape(
      tf.gather(tf.constant(normals), index[0]), shape)
  try:
    yield
  finally:
    tf.while_loop, tf.random_normal = while_loop, random_normal
