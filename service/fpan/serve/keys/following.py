"""The keys of a running server: from its file, and from it again when it changes."""

from fpan.serve.addresses import is_loopback
from fpan.serve.followed_files import Contents, FollowedFiles
from fpan.serve.keys.file import KeyFile
from fpan.serve.keys.ring import KeyRing
from fpan.serve.metrics import FileCounts
from fpan.serve.settings import Settings
from fpan.serve.start_error import StartError

_WHAT = "keys"
_MAKE = "`fpan keys add NAME --file {file}` makes one"
_OR = "AUTH=off serves everybody without"


def open_keys(settings: Settings, counts: FileCounts) -> tuple[KeyRing | None, tuple[FollowedFiles, ...]]:
    """The keys of those who may come in, and what follows their file; no keys where nobody needs one.

    Raises:
        StartError: keys are needed, and there are none, or their file is of no use.
    """
    if not settings.needs_keys:
        return None, ()
    if settings.keys_file is None:
        named = "AUTH=required" if settings.auth == "required" or is_loopback(settings.bind_address) else ""
        why = named or f"BIND_ADDRESS={settings.bind_address}, which others can reach,"
        raise StartError(
            f"{why} wants API keys, and KEYS_FILE names no file of them: {_MAKE.format(file='keys.json')}, then set "
            f"KEYS_FILE=keys.json; {_OR}"
        )
    ring = KeyRing(KeyFile())

    def use(contents: Contents) -> None:
        ring.replace(KeyFile.parse(contents[0]))

    try:
        followed = FollowedFiles(
            "keys file", [settings.keys_file], use, settings.files_poll_s, lambda good: counts.used(_WHAT, good)
        )
    except OSError as error:
        make = _MAKE.format(file=settings.keys_file)
        raise StartError(f"KEYS_FILE={settings.keys_file}: {error.strerror or error}: {make}; {_OR}") from error
    except ValueError as error:
        raise StartError(f"KEYS_FILE={settings.keys_file} is no file of keys: {error}") from error
    counts.keys.set_function(lambda: ring.usable)  # when it is asked for: keys expire by themselves
    if not ring.usable:
        make = _MAKE.format(file=settings.keys_file)
        raise StartError(
            f"KEYS_FILE={settings.keys_file} has no key that is neither revoked nor expired: {make}; {_OR}"
        )
    return ring, (followed,)
