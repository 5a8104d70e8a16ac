# SPDX-License-Identifier: Apache-2.0
"""The one exception of the reference: a status of registry.tsv and where it was found."""


class CurtaError(Exception):
    """A rule of the format is broken; `status` is the name in registry.tsv."""

    def __init__(self, status, where=""):
        super().__init__(f"{status}: {where}")
        self.status = status
        self.where = where


def need(condition, status, where):
    """Raises CurtaError(status, where) unless the condition holds."""
    if not condition:
        raise CurtaError(status, where)
