"""Three calls of the release's acting policy, for the cases that hold them."""
import jax
import ninjax as nj
import numpy as np
from v3 import record
from v3.release import to_numpy, zero_carry


def calls(model, spec, state, batch):
  """The arrays of policy.npz, and the smallest distance of an argmax.

  Two environments; the second starts a new episode at the third call. The
  state that goes on keeps the action as it was drawn.
  """
  act = jax.jit(record.collect(nj.pure(model.policy)))
  state = {k: v for k, v in state.items()
           if k.startswith(('enc/', 'dyn/', 'dec/', 'pol/'))}
  carry = zero_carry(model, 2)
  found, distances = {}, []
  for k in range(3):
    obs = _observation(model, batch, k)
    seed = np.array([spec['seed'], 5000 + k], np.uint32)
    (_, result), notes = to_numpy(act(state, carry, obs, seed=seed))
    carry, action, _ = result
    found.update({f'in/step{k}/{name}': v for name, v in obs.items()})
    found.update(_outcome(k, notes, action))
    distances += [
        v.min() for name, values in notes.items() for v in values
        if name.startswith('margin/')]
  return found, float(min(distances, default=np.inf))


def _observation(model, batch, k):
  obs = {name: batch[name][:2, k] for name in model.obs_space}
  obs['is_first'] = np.array([k == 0, k in (0, 2)])
  obs['is_last'] = np.array([False, k == 1])
  obs['is_terminal'] = np.array([False, False])
  obs['reward'] = np.where(obs['is_first'], 0, obs['reward']).astype(np.float32)
  return obs


def _outcome(k, notes, action):
  (post,) = notes['post']
  found = {f'noise/step{k}/post': notes['noise/post'][0]}
  for key, value in action.items():
    found[f'noise/step{k}/act/{key}'] = notes[f'noise/act/{key}'][0]
    found[f'out/step{k}/act/{key}'] = value
  for key in ('deter', 'stoch', 'logit'):
    found[f'out/step{k}/{key}'] = post[key]
  return found
