"""The Hub ends every session that a user has in a browser: ``DELETE /hub/api/users/NAME/sessions``, for who may administrate users.

Promises: the Hub's own cookie and every token that a page signed in with are void at once, in whatever browser they are; the user's
personal tokens and the tokens of running workspaces stay. What was asked while the Hub was down is done when it starts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.scopes import needs_scope
from sqlalchemy.exc import SQLAlchemyError
from tornado.web import HTTPError

from ark_extensions.storage import Storage
from ark_extensions.usecases import sign_outs

log = logging.getLogger("ark")

#: the client of tokens that people and spawners make; every other token was given to a page that somebody signed in to
PERSONAL = "jupyterhub"


def end_sessions(db: Any, user: orm.User) -> int:
    """How many pages were signed in."""
    user.cookie_id = orm.new_token()  # the login cookie is this, signed
    tokens = [token for token in user.api_tokens if token.client_id != PERSONAL]
    for one in [*tokens, *user.oauth_codes]:
        db.delete(one)
    db.commit()
    return len(tokens)


class Sessions(APIHandler):  # type: ignore[misc]  # jupyterhub has no types
    @needs_scope("admin:users")  # type: ignore[untyped-decorator]
    async def delete(self, user_name: str) -> None:
        user = self.find_user(user_name)
        if user is None:
            raise HTTPError(404)
        ended = end_sessions(self.db, user.orm_user)
        await asyncio.to_thread(sign_outs.done, self.authenticator.open_storage(), user=user.name)
        log.info("%s was signed out of %d pages by %s.", user.name, ended, self.current_user.name)
        self.set_status(204)


def end_what_is_due(db: Any, open_storage: Callable[[], Storage]) -> None:
    """At the Hub's start. A database that cannot be read is no reason for it not to start."""
    try:
        for name in sign_outs.due(open_storage()):
            user = orm.User.find(db, name)
            if user is not None:
                end_sessions(db, user)
            sign_outs.done(open_storage(), user=name)
    except SQLAlchemyError:
        log.exception("The Hub could not look whose sessions are to end.")
