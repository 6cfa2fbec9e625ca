"""Authentication by name and password of the users in a file."""

from sidecar.auth.users import UsersFile
from sidecar.gateway.callers.caller import Credentials, KnownCaller


class Users:
    """Authenticates the users of a file."""

    wants = "a user's name and password"
    challenge = 'Basic realm="Livery", charset="UTF-8"'

    def __init__(self, file: UsersFile) -> None:
        self._file = file

    def takes(self, credentials: Credentials) -> bool:
        """Return whether the request has a name and password."""
        return credentials.authorization[:6].lower() == "basic "

    def knows(self, credentials: Credentials) -> bool:
        """Return whether name and password were verified before."""
        return self._file.knows(credentials.authorization)

    def name_of(self, credentials: Credentials) -> str:
        """Return the user's name; empty if there is no such user."""
        return self._file.name_of(credentials.authorization)

    async def identify(self, credentials: Credentials) -> KnownCaller | None:
        """Return the user; None if name or password is wrong."""
        user = await self._file.find(credentials.authorization)
        return None if user is None else KnownCaller(user.name, user.tenants, user.is_admin)
