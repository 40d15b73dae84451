"""Eclectic-Sheep/sheeprl: what its V1 and V2 have in common."""

import numpy as np
import torch
from porting import OnImages, Port, batch_first, embedding, images_first, rows

from dreamer.conform import samplers


def configure(name, overrides, folder):
  """The port's own configuration of an algorithm with some values changed.

  Only the sections that a train step reads.
  """
  import hydra  # sheeprl's
  from omegaconf import OmegaConf, open_dict
  from sheeprl.utils.utils import dotdict
  with hydra.initialize_config_dir(
      str(folder / 'sheeprl' / 'configs'), version_base='1.3'):
    config = hydra.compose('config', [f'exp={name}'])
  with open_dict(config):
    for key, value in overrides.items():
      OmegaConf.update(config, key, value)
  return dotdict({x: OmegaConf.to_container(config[x], resolve=True)
                  for x in ('algo', 'distribution', 'env')})


def sizes(case, layer_counts):
  """Settings that V1 and V2 share, under the port's keys."""
  s, model = case.settings, 'algo.world_model'
  size, length = case.data['batch']
  found = {
      'algo.per_rank_batch_size': size,
      'algo.per_rank_sequence_length': length,
      'algo.horizon': s['horizon'], 'algo.gamma': s['discount'],
      'algo.lmbda': s['lambda'], 'algo.dense_units': s['units'],
      'algo.cnn_keys.encoder': ['rgb'], 'algo.cnn_keys.decoder': ['rgb'],
      'algo.mlp_keys.encoder': [], 'algo.mlp_keys.decoder': [],
      f'{model}.stochastic_size': s['stoch'],
      f'{model}.kl_free_nats': s['free_nats'],
      f'{model}.kl_regularizer': s['kl_scale'],
      f'{model}.use_continues': s['discount_head'],
      f'{model}.encoder.cnn_channels_multiplier': s['cnn_depth'],
      f'{model}.recurrent_model.recurrent_state_size': s['deter'],
      f'{model}.recurrent_model.dense_units': s['hidden'],
      f'{model}.transition_model.hidden_size': s['hidden'],
      f'{model}.representation_model.hidden_size': s['hidden']}
  for part, name in (('world_model', 'model'), ('actor', 'actor'),
                     ('critic', 'critic')):
    found[f'algo.{part}.clip_gradients'] = s[f'{name}_clip']
    found[f'algo.{part}.optimizer.lr'] = s[f'{name}_lr']
    found[f'algo.{part}.optimizer.eps'] = s['adam_eps']
    found[f'algo.{part}.optimizer.weight_decay'] = s['weight_decay']
  found.update({f'algo.{x}.mlp_layers': n for x, n in layer_counts.items()})
  return found


class SheepPort(Port):
  """One train() of sheeprl, by its own code, with Fabric on one CPU."""

  def __init__(self, case, config, module, agent):
    import gymnasium as gym  # sheeprl's
    import hydra
    from lightning.fabric import Fabric
    self.case, self.config, self.module = case, config, module
    torch.distributions.Distribution.set_default_validate_args(
        bool(config.distribution.validate_args))  # as its command does
    self.batch = case.data['batch']
    self.space = case.data['action_space']
    self.fabric = Fabric(accelerator='cpu', devices=1)
    height, width, channels = case.data['image']
    spaces = gym.spaces.Dict({'rgb': gym.spaces.Box(
        0, 255, (channels, height, width), np.uint8)})
    self.parts = agent.build_agent(
        self.fabric, (self.space['dim'],),
        self.space['type'] == 'continuous', config, spaces)
    make = lambda part, owner: hydra.utils.instantiate(
        part.optimizer, params=owner.parameters(), _convert_='all')
    self.optimizers = self.fabric.setup_optimizers(*(
        make(config.algo[x], y) for x, y in zip(
            ('world_model', 'actor', 'critic'), self.parts[:3],
            strict=True)))
    self.watched = {'train': module.train}

  def data(self):
    """The batch under the port's keys, [T, B, ...]."""
    batch = self.case.batch
    turn = lambda x: torch.from_numpy(np.ascontiguousarray(
        batch_first(x.astype(np.float32))))
    reward = np.asarray(batch['reward'], np.float32)
    if self.case.settings.get('reward_transform') == 'tanh':
      reward = np.tanh(reward)  # the port does it in its environments
    terminal = batch.get('is_terminal')
    terminal = 1 - batch['discount'] if terminal is None else terminal
    found = {'rgb': images_first(batch['image']).float(),
             'actions': turn(batch['action']),
             'rewards': turn(reward[..., None]),
             'terminated': turn(terminal[..., None])}
    if 'is_first' in batch:
      found['is_first'] = turn(batch['is_first'][..., None])
    return found

  def rows(self, x):
    return rows(x, self.batch)

  def embed(self, x):
    return embedding(batch_first(samplers.array(x)), self.case)

  def on_images(self, name, tensor):
    settings = self.case.settings
    return OnImages(name, tensor, settings['deter'],
                    8 * settings['cnn_depth'])
