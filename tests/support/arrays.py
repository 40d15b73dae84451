"""Arrays of a release, as another program might write them."""


def whole(case):
  """The release's own arrays, those that the case holds as they are."""
  return {key: x.copy() for key, x in case.expected.items()
          if not key.endswith(('.stats', '.head'))}
