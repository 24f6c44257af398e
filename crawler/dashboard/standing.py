"""/metrics, /healthz and /readyz: for Prometheus, and for what starts and stops programs."""

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from crawler.adapters.exposition import exposition
from crawler.dashboard.asked import AtDesk
from crawler.monitoring import readiness, survey_groups

router = APIRouter(include_in_schema=False)


@router.api_route("/metrics", methods=["GET", "HEAD"])
async def metrics(request: Request) -> Response:
    """What all crawls share, as Prometheus reads it."""
    body, content_type = exposition(
        await survey_groups(request.app.state.survey), request.headers.get("accept", "")
    )
    return Response(body, headers={"Content-Type": content_type})


@router.api_route("/healthz", methods=["GET", "HEAD"])
async def alive() -> PlainTextResponse:
    """The event loop turns."""
    return PlainTextResponse("ok\n")


@router.api_route("/readyz", methods=["GET", "HEAD"])
async def ready(request: Request, desk: AtDesk) -> Response:
    """Whether database and broker answer; 503 unless both do."""
    found = await request.app.state.readiness()
    if found["database"] != "ok":
        desk.away.set()
    status, body = readiness(found)
    return Response(body, status, media_type="application/json")
