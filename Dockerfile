# One file, two images: `api` (which also migrates) and `worker`; they differ in one package.
# Base images are pinned by tag. A digest would be stricter, but nothing here could keep it current;
# where that is wanted, let the machine that pulls the images rewrite the tags.

FROM python:3.13-slim AS builder
# uv only builds the environment and is not part of any image; what it installs is checked
# against the hashes in requirements.lock, build backend included.
RUN ["python", "-m", "pip", "install", "--no-cache-dir", "--root-user-action=ignore", "uv==0.13.8"]
ENV VIRTUAL_ENV=/app \
    UV_COMPILE_BYTECODE=1 \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never
RUN ["uv", "venv", "/app"]
WORKDIR /src
COPY requirements.lock ./
COPY libs libs

FROM builder AS api-build
COPY services/api services/api
RUN ["uv", "pip", "install", "--no-sources", \
     "--constraints", "requirements.lock", "--build-constraints", "requirements.lock", \
     "./libs/common", "./libs/runtime", "./libs/db_orm", "./libs/letters", "./services/api"]

FROM builder AS worker-build
COPY services/worker services/worker
RUN ["uv", "pip", "install", "--no-sources", \
     "--constraints", "requirements.lock", "--build-constraints", "requirements.lock", \
     "./libs/common", "./libs/runtime", "./libs/db_orm", "./libs/letters", "./services/worker"]

FROM python:3.13-slim AS runtime
# A new volume mounted on one of these inherits the folder's owner, so that one can write it.
RUN ["install", "--directory", "--owner=10001", "--group=10001", "--mode=0700", \
     "/run/wallet", "/run/wallet-owner", "/run/wallet-worker"]
ENV PATH=/app/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /app
USER 10001:10001

FROM runtime AS api
COPY --from=api-build /app /app
ENV WALLET_HOST=0.0.0.0 \
    WALLET_PORT=3000
EXPOSE 3000
# urlopen raises for every status that is no success.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['WALLET_PORT'] + '/healthz', timeout=4)"]
CMD ["python", "-m", "wallet_api.main"]

FROM runtime AS worker
COPY --from=worker-build /app /app
ENV WALLET_HEARTBEAT_FILE=/tmp/worker.alive
# A healthy worker touches the file at least every 5 s.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, sys, time; sys.exit(time.time() - os.stat(os.environ['WALLET_HEARTBEAT_FILE']).st_mtime > 30)"]
CMD ["python", "-m", "wallet_worker.main"]
