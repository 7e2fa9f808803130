# Web server, dispatcher and migrations: all that needs no torch. Build from the root of the repository.
# For production, pin the base image by its digest: --build-arg BASE_IMAGE=python@sha256:…
ARG BASE_IMAGE=python:3.11-slim
FROM ${BASE_IMAGE}

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /app

# Locked packages first: they change less often than the code.
COPY deploy/web.lock ./
RUN pip install --no-deps --require-hashes -r web.lock

COPY pyproject.toml README.md LICENSE ./
COPY client ./client
COPY dispatcher ./dispatcher
COPY shared ./shared
COPY training ./training
COPY web ./web
COPY worker ./worker
COPY migrations ./migrations
RUN pip install --no-deps . && rm -rf /app/*

RUN useradd --system --uid 10001 --create-home limner && install -d -o limner -g limner /data
USER limner
VOLUME /data
ENV LIMNER_DATA_DIR=/data
EXPOSE 8700
CMD ["limner", "serve"]
