"""The routes of the server."""

import hmac
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException as HTTPError  # FastAPI's is derived from it
from starlette.requests import ClientDisconnect

from voc_seg import __version__
from voc_seg.api.predictor import Predictor
from voc_seg.system.errors import NoMemoryError

from .answers import MEDIA_TYPES, choose_format
from .batching import Batcher
from .limits import Admission, Limits
from .metrics import Metrics, RequestMiddleware
from .uploads import FIELD
from .work import Work

logger = logging.getLogger(__name__)

CLIENT_GONE = 499
"""Status in the metrics of a request whose client has disconnected, as nginx counts it."""
_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {FIELD: {"type": "string", "format": "binary"}},
                "required": [FIELD],
            }
        }
    },
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The image is damaged, or has other bands than the model takes"},
    401: {"description": "The token is missing or wrong"},
    406: {"description": "`Accept` names none of the formats"},
    408: {"description": "The upload took too long"},
    413: {"description": "Too many bytes or pixels"},
    415: {"description": "Not a JPEG, PNG, TIFF, BMP or WebP image"},
    422: {"description": "`format` is none of the formats"},
    429: {"description": "Too many requests are in progress. Try again later"},
    500: {"description": "The server failed; its log says why"},
    503: {"description": "The server has too little memory for the image"},
    504: {"description": "The image could not be segmented in time"},
}


def create_app(
    model: Predictor, limits: Limits, token: str = "", admission: Admission | None = None, threads: int = 2
) -> FastAPI:
    """Return the server's application.

    Args:
        model: As ``voc_seg.load`` returns it.
        limits: What is accepted.
        token: If not empty, what clients send as ``Authorization: Bearer TOKEN`` to /predict and /metrics.
        admission: Counts requests, and says when the server is stopping.
        threads: For decoding images and encoding answers.
    """
    admission = admission or Admission(limits.queue)
    pool = ThreadPoolExecutor(threads, "voc_seg images")
    batcher = Batcher(
        lambda images: model.predict(tuple(images)),
        lambda height, width: min(limits.batch, model.images_together(height, width)),
        limits.batch_wait,
        lambda size: metrics.batches.observe(size),
    )
    metrics = Metrics(lambda: len(batcher), lambda: admission.in_flight)
    work = Work(model.pixels, batcher, limits, pool)
    checked = [Depends(_token_check(token))] if token else []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        batcher.close()
        pool.shutdown(cancel_futures=True)

    app = FastAPIOffline(  # FastAPI's own page /docs needs a public server
        redoc_url=None, title="voc_seg", version=__version__, lifespan=lifespan,
        description=f"Masks of images, by a model of {len(model.classes)} classes.",
    )  # fmt: skip
    app.add_middleware(RequestMiddleware, metrics=metrics, is_stopping=lambda: admission.draining)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        """A sentence, as with all other errors; FastAPI's own is a list."""
        wrong = "; ".join(f"{one['loc'][-1]} = {one['input']!r}: {one['msg']}" for one in error.errors())
        return JSONResponse({"detail": wrong}, 422)

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        """The page to try the server, for people who open its address."""
        return RedirectResponse("docs")

    @app.post(
        "/predict",
        dependencies=checked,
        response_class=Response,
        responses={200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}}, **_ERRORS},
        openapi_extra={"requestBody": _BODY},
    )
    async def predict(
        request: Request,
        format: Annotated[
            Literal["mask", "overlay", "json"] | None,
            Query(description="A palette PNG, a JPEG, or shares and polygons. Without it, the header Accept decides."),
        ] = None,
    ) -> Response:
        """Segment the image of the field `image`."""
        kind = format or choose_format(request.headers.get("accept", ""))
        if kind is None:
            raise HTTPException(406, f"Accept one of {', '.join(MEDIA_TYPES.values())}.")
        if not admission.enter():
            raise HTTPException(429, "Too many requests are in progress. Try again later.", {"Retry-After": "1"})
        try:
            return Response(await work.answer(request, kind), media_type=MEDIA_TYPES[kind])
        except ClientDisconnect:
            return Response(status_code=CLIENT_GONE)
        except NoMemoryError as error:
            logger.error("%s", error)
            raise HTTPException(503, "The server has too little memory for this image.") from None
        except HTTPError:
            raise
        except Exception:
            logger.exception("An image could not be segmented")
            raise HTTPException(500, "The server failed. Its log says why.") from None
        finally:
            admission.leave()

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the server works at all. If not, restart it."""
        if not batcher.is_alive:
            raise HTTPException(503, "The thread that segments images has ended.")
        return {"status": "ok"}

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        """Whether the server should get requests: 503 while it is stopping."""
        if admission.draining or not batcher.is_alive:
            raise HTTPException(503, "The server is stopping.")
        return {"status": "ready"}

    @app.get("/metrics", dependencies=checked, response_class=Response)
    async def read_metrics() -> Response:
        """Metrics for Prometheus."""
        return Response(generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return app


def _token_check(token: str) -> Any:
    expected = token.encode()
    scheme = HTTPBearer(auto_error=False)

    async def require_token(given: Annotated[HTTPAuthorizationCredentials | None, Depends(scheme)]) -> None:
        # In constant time, so that the time says nothing about how much of the token is right.
        if given is None or not hmac.compare_digest(given.credentials.encode(), expected):
            raise HTTPException(401, "Send the token as Authorization: Bearer TOKEN.", {"WWW-Authenticate": "Bearer"})

    return require_token
