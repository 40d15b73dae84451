"""The paper's experiment without a value model (eq. 4, Figures 4 and 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from dreamer.nn import layers
from dreamerv1.actor_critic import ActorCritic, Tensors

if TYPE_CHECKING:
  from dreamer.envs.spaces import ActionSpace
  from dreamerv1 import settings


class NoValue(ActorCritic):
  """The actor maximises the imagined rewards alone (eq. 4, Figure 4)."""

  def __init__(self, config: settings.Config, feat: int, act_space: ActionSpace,
               init: layers.Init):
    super().__init__(config, feat, act_space, init)
    del self.critic

  @property
  def groups(self) -> dict[str, dict[str, tf.Variable]]:
    return {'actor': self.actor.variables}

  def loss(self, model: Any, start: Tensors, noise: Any,
           unroll: bool = False) -> tuple[Tensors, Tensors]:
    action, feat = self.rollout(model, start, noise, unroll)
    rewards = self.rewards(model, feat, action)
    discount = model.imagined_discount(feat)
    target = self._sum(rewards['imag_reward'], discount)
    return {'actor': self._actor_loss(target, 1.0)}, {
        **rewards, 'imag_feat': feat, 'imag_action': action,
        'imag_discount': discount, 'returns': target}

  def _sum(self, reward, discount):
    """Sum of all imagined rewards [1, N]."""
    del discount
    return tf.cumsum(reward, reverse=True)[:1]

  def summaries(self, tensors: dict[str, Any]) -> Tensors:
    metrics = super().summaries({**tensors, 'imag_value': tensors['returns']})
    del metrics['imag/value']
    return metrics
