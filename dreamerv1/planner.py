"""Planning in latent space at every step, instead of a learned policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from dreamer.nn import agent, layers
from dreamerv1.agent import Agent

if TYPE_CHECKING:
  from dreamer.envs.spaces import ActionSpace
  from dreamerv1 import settings

MIN_VARIANCE = 1e-6  # keeps a narrow search alive


class Planner(layers.Module):
  """Cross entropy method over action sequences, without weights (PlaNet).

    candidates(i) ~ Normal(mean(i), std(i)), clipped to [-1, 1]
    return        = sum of the predicted rewards of one imagined rollout each
    mean, std(i+1)  of the `elites` candidates of the highest return

  mean(0) is 0 and std(0) is 1; there is no value at the horizon. The first
  action of the last mean is executed and the rest forgotten.
  """

  groups: dict = {}  # nothing to train

  def __init__(self, config: settings.Config, feat: int, act_space: ActionSpace,
               init: layers.Init):
    del feat, init  # nothing to make
    super().__init__('planner')
    self.config = config.planner
    self.size = act_space.dim

  def act(self, model: Any, state: dict, noise: Any, mode: str) -> tf.Tensor:
    """Actions [n, A] for model states [n, ...]; the same in every mode."""
    del mode
    means, _ = self.plan(model, state, noise)
    return means[-1, :, 0]

  def summaries(self, tensors: dict) -> dict:
    """Metrics of one update: none, as nothing is learned here."""
    del tensors
    return {}

  def plan(self, model: Any, state: dict,
           noise: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and std after each iteration, [I, n, H, A] each.

    Row n * C + c of a rollout is candidate c of state n.
    """
    config, amount = self.config, state['deter'].shape[0]
    rows = amount * config.candidates
    start = {key: tf.repeat(x, config.candidates, 0)
             for key, x in state.items()}
    shape = [amount, config.horizon, self.size]
    draws = {
        'action': noise.normal('plan_action', [
            config.iterations, amount, config.candidates, *shape[1:]]),
        'prior': model.rssm.draw(
            noise, 'plan_prior', [config.iterations, config.horizon, rows])}

    def iteration(belief, draws):
      mean, std = belief
      action = tf.clip_by_value(
          mean[:, None] + std[:, None] * draws['action'], -1, 1)
      returns = self._returns(model, start, action, draws['prior'])
      return self._refit(action, returns)

    return layers.scan(iteration, draws, (tf.zeros(shape), tf.ones(shape)))

  def _returns(self, model, start, action, noise):
    """Sum of predicted rewards [n, C] of action sequences [n, C, H, A]."""
    rows = tf.reshape(action, [-1, *action.shape[2:]])
    states = model.rssm.open_loop(
        start, tf.transpose(rows, [1, 0, 2]), noise)
    reward = model.reward.mean(model.rssm.get_feat(states))  # [H, n * C]
    return tf.reshape(tf.reduce_sum(reward, 0), action.shape[:2])

  def _refit(self, action, returns):
    """Mean and standard deviation [n, H, A] of the best sequences."""
    _, best = tf.math.top_k(returns, self.config.elites)  # [n, K]
    elites = tf.gather(action, best, batch_dims=1)  # [n, K, H, A]
    mean, variance = tf.nn.moments(elites, 1)
    return mean, tf.sqrt(variance + MIN_VARIANCE)


class PlanningAgent(Agent):
  """Neither actor nor critic: plans anew at every step (PlaNet)."""

  behaviour_class: Any = Planner

  def _learn_behaviour(self, model, start, noise):
    return agent.Update({}, {}, {}, {})
