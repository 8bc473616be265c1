"""What the kernel says about a file, as a sentence of ours: one place in which errno becomes an answer."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from ark_extensions.domain.errors import ArkError, Conflict, Forbidden, InvalidField, NotFound, Unavailable
from ark_extensions.domain.files import Full, shown


class NoParent(Conflict):
    """The folder in which something should be made is not there (HTTP 409)."""

    code = "no_parent"


class Exists(Conflict):
    """Something of this name is there already (HTTP 409; 405 and 412 in WebDAV)."""

    code = "exists"


class Leaves(Forbidden):
    """The path leads out of the tree (HTTP 403)."""

    code = "leaves_netdisk"


def refusal(error: OSError, path: str) -> ArkError:
    """The domain error for what the kernel refused about ``path``."""
    name = shown(path) or "/"
    number = error.errno
    if number in (errno.EXDEV, errno.ELOOP):
        return Leaves("“{name}” is a link that leads out of your netdisk, and is not followed.", name=name)
    if number in (errno.ENOENT, errno.ENOTDIR):
        return NotFound("“{name}” is not there.", name=name)
    if number == errno.EEXIST:
        return Exists("“{name}” is there already.", name=name)
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Forbidden("The permissions of “{name}” do not allow this. Change them in a workspace: chmod u+rwX.", name=name)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return Full("The disk under the netdisk is full. Nothing of this was kept; tell your administrator.", code="disk_full")
    if number in (errno.ENAMETOOLONG, errno.EILSEQ):
        return InvalidField("A name has at most {bytes} bytes.", field="path", bytes=255)
    if number in (errno.EISDIR, errno.ENOTEMPTY):
        return Exists("“{name}” is a folder.", name=name)
    if number in (errno.ENXIO, errno.ENODEV):
        return Forbidden("“{name}” is not an ordinary file.", code="not_a_file", name=name)
    if number == errno.EINVAL:
        return Forbidden("A folder cannot be put into itself.", code="into_itself")
    return Unavailable("The storage does not answer as it should. Try again in a minute.", code="storage")


@contextmanager
def refusing(path: str) -> Iterator[None]:
    """Turn OSError into a domain error about ``path``."""
    try:
        yield
    except OSError as error:
        raise refusal(error, path) from error
