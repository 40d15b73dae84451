"""Our agent's arrays on a parity case, with changes."""

from __future__ import annotations

import contextlib
import functools
import typing

import numpy as np

from dreamer import conform
from dreamer.errors import UserError
from tests.parity import cases as parity_cases
from tests.parity import changes, faults, faults_updates, faults_v3, v1, v2, v3
from tests.parity.changes import Change
from tests.parity.references import find_reference
from tests.support.agent_running import eagerly


class Runs:
  """Our agent's arrays on a case under changes; each is computed once."""

  def __init__(self, case: conform.Case) -> None:
    self.case = case
    self.reference = find_reference(case.data)
    self.found: dict[tuple, dict | None] = {}

  def arrays(self, applied: typing.Sequence[Change], steps: int = 0
             ) -> dict[str, np.ndarray] | None:
    """All arrays, or those of the first `steps`; None: it can not run so."""
    steps = steps or self.case.steps
    words = tuple(x.words for x in applied)
    for known in range(steps, self.case.steps + 1):
      if (words, known) in self.found:
        return self.found[words, known]
    found = None
    with contextlib.suppress(UserError):
      found = self._compute(applied, steps)
    self.found[words, steps] = found
    return found

  def _compute(self, applied, steps):
    data = {**self.case.data, 'steps': steps}
    if 'tfstep' in data:
      data['tfstep'] = data['tfstep'][:steps]
    compute = {'dreamerv1': self._v1, 'dreamerv2': self._v2,
               'dreamerv3': self._v3}
    with changes.changed(applied), eagerly():
      found = compute[self.case.agent](data, applied)
    if steps < self.case.steps:  # parameters are those of other steps
      found = {key: x for key, x in found.items()
               if not key.startswith(('param/', 'slot/', 'extra/'))}
    return {key: np.asarray(x) for key, x in found.items()}

  def _v1(self, data, applied):
    agent = v1.make_agent(data, self.reference)
    parity_cases.load_parameters(v1.parameters(agent), data, self.case.path)
    batch, mask = v1.read_batch(self.case.path / 'batch.npz')
    with faulty(agent, applied):
      return v1.train(agent, batch, mask, data, self.case.path, True)

  def _v2(self, data, applied):
    agent = v2.make_agent(data, self.case.batch)
    parity_cases.load_parameters(v2.parameters(agent), data, self.case.path)
    with v2.half_std(), faulty(agent, applied):
      return v2.train(agent, self.case.batch, data)

  def _v3(self, data, applied):
    norms = {v3.NORMS[norm] for change in applied for norm, _, key in (
        x.partition('.') for x in change.settings) if key == 'kind'
        and norm in v3.NORMS}  # of another kind, which starts from itself
    data['initial_state'] = {
        key: x for key, x in data.get('initial_state', {}).items()
        if key.split('/')[0] not in norms}
    trial = v3.Trial(self.case.path, data)
    with faulty(trial.agent, applied):
      return trial.train()

  @functools.cached_property
  def changes(self) -> list[Change]:
    """Every single change that our agent knows on this case."""
    data, known = self.case.data, {
        'dreamerv1': lambda: v1.make_agent(data, self.reference),
        'dreamerv2': lambda: v2.make_agent(data, self.case.batch),
        'dreamerv3': lambda: v3.make_agent(data, None)}
    config = known[self.case.agent]().config
    of = faults_v3.of if self.case.agent == 'dreamerv3' else faults.of
    return [*changes.settings(self.case.agent, config), *of(self.case)]


@contextlib.contextmanager
def faulty(agent, applied):
  """Inside, the agent has the faults of some changes.

  What steps twice does so with the rule that others change.
  """
  order = sorted(applied, key=lambda x: x.enter is faults_updates.twice)
  with contextlib.ExitStack() as stack:
    for change in order:
      if change.enter:
        stack.enter_context(change.enter(agent))
    yield
