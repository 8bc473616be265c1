"""The caller's own account."""

from __future__ import annotations

from ark_extensions.console.api import answers as a
from ark_extensions.console.api.models import MeBody
from ark_extensions.console.api.routes import Call, Route
from ark_extensions.usecases.users import get_user, set_email, set_language, set_mailed


async def me(call: Call) -> a.Me:
    user = await call.use(get_user, name=call.user)
    settings = call.ark.settings
    limits = a.Limits(
        workspaces=settings.max_workspaces_per_user,
        data_disk_default_gib=settings.data_disk_default_gib,
        netdisk_free_gib=settings.netdisk_free_gib,
        recycle_days=settings.recycle_days,
    )
    language = (user.language if user else None) or call.handler.language
    return a.Me.model_validate(
        {
            "name": call.user,
            "email": user.email if user else None,
            "mailed": user.mailed if user else "all",
            "admin": call.principal.admin,
            "language": language,
            "currency": call.currency,
            "limits": limits,
        }
    )


async def change_me(call: Call) -> a.Me:
    body: MeBody = call.body
    if body.language is not None:
        await call.use(set_language, user=call.user, language=body.language)
        call.ark.languages[call.user] = body.language
    if "email" in body.model_fields_set:
        await call.use(set_email, user=call.user, email=body.email)
    if body.mailed is not None:
        await call.use(set_mailed, user=call.user, mailed=body.mailed)
    return await me(call)


ROUTES = (
    Route("GET", "/me", "Who you are, and your limits", me, a.Me),
    Route("PATCH", "/me", "Choose your language, and which notices are mailed where", change_me, a.Me, body=MeBody),
)
