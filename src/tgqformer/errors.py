"""Every error that is the user's to mend, in one tree.

A message is one sentence that carries the value, the rule and the remedy; the command line prints
it without a traceback and exits with 2.
"""


class TGQFormerError(Exception):
    """Base of all errors raised on purpose by this package."""


class CatalogError(TGQFormerError):
    """A catalog, or a row of it, cannot be used."""


class ImageError(CatalogError):
    """A photo cannot be read."""


class ConfigError(TGQFormerError):
    """An option is unknown, or its value breaks a rule."""


class MissingDependencyError(TGQFormerError):
    """An optional package is needed and absent."""


class ModelError(TGQFormerError):
    """A tower, backbone or saved model cannot be loaded."""


class CacheError(TGQFormerError):
    """The token cache cannot be read or written."""


class StorageError(TGQFormerError):
    """A result cannot be written, or a stored one cannot be read."""


class UnreadInputWarning(UserWarning):
    """Something of what was to be embedded could not be read, and counts as missing."""
