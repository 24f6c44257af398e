"""Signing in and out: a browser's session, made from the token."""

import time
from typing import Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from crawler.dashboard import pages
from crawler.dashboard.auth import LASTS, Guard, local_path
from crawler.dashboard.bounds import CROWD, trouble

router = APIRouter(include_in_schema=False)
WRONG: Final = "that is not the token"


@router.get("/login")
async def ask(request: Request, token: str | None = None, next: str | None = None) -> Response:  # noqa: A002 - as the link says
    """The form; or, with the token in the link that was printed at the start, a session at once."""
    if token is None:
        return pages.login_page(request, next=local_path(next))
    return await _sign_in(request, token, next)


@router.post("/login")
async def sign_in(request: Request) -> Response:
    """What was typed into the form."""
    try:
        fields = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=10)
    except ValueError:  # more fields than the form has
        fields = {}
    return await _sign_in(request, fields.get("token", [""])[0].strip(), fields.get("next", [None])[0])


@router.post("/logout")
async def sign_out(request: Request) -> Response:
    """The browser forgets its session."""
    guard: Guard = request.app.state.guard
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(guard.cookie, path="/", httponly=True, samesite="strict")
    return answer


async def _sign_in(request: Request, token: str, then: str | None) -> Response:
    guard: Guard = request.app.state.guard
    if not guard.is_token(token):
        address = request.client.host if request.client else ""
        if guard.crowded(address):
            return trouble(429, CROWD, {"Retry-After": "5"})
        await guard.punish(address)
        return pages.login_page(request, next=local_path(then), wrong=WRONG, status=401)
    answer = RedirectResponse(local_path(then), 303)
    secure = "https" in {request.url.scheme, request.headers.get("x-forwarded-proto", "")}
    answer.set_cookie(
        guard.cookie,
        guard.session(time.time()),
        max_age=LASTS,
        path="/",
        secure=secure,
        httponly=True,
        samesite="strict",
    )
    return answer
