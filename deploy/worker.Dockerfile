# A worker, for a GPU or the CPU. Build from the root of the repository, or by `make images`.
#
# PyPI's torch for Linux includes the CUDA libraries and also runs on a CPU, so one image serves both. Without these
# libraries the image has a tenth of the size: use PyTorch's CPU index with --build-arg TORCH_INDEX_URL=… For AMD's GPUs
# name its index for ROCm there (docs/gpu.md).
# For production, pin the base image by its digest: --build-arg BASE_IMAGE=python@sha256:…
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /app
RUN python -m venv /opt/limner

# The build backend has an environment of its own: it is not in the image.
COPY deploy/build.lock ./
RUN python -m venv /opt/build && /opt/build/bin/pip install --no-deps --require-hashes -r build.lock
ARG TORCH_INDEX_URL=""

# Locked packages first: they change less often than the code. torch comes before the others, with the dependencies
# of its build: the CUDA libraries, or none.
COPY torch.lock deploy/worker.lock ./
RUN if [ -n "$TORCH_INDEX_URL" ]; then export PIP_INDEX_URL="$TORCH_INDEX_URL"; fi \
    && /opt/limner/bin/pip install -r torch.lock
RUN /opt/limner/bin/pip install --no-deps --require-hashes -r worker.lock

COPY pyproject.toml README.md LICENSE ./
COPY client ./client
COPY dispatcher ./dispatcher
COPY shared ./shared
COPY training ./training
COPY web ./web
COPY worker ./worker
COPY migrations ./migrations
RUN /opt/build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /opt/wheel . \
    && /opt/limner/bin/pip install --no-deps --no-index /opt/wheel/*.whl
# The tool of the bill of materials is not in the image.
COPY deploy/sbom.lock ./
RUN python -m venv /opt/sbom && /opt/sbom/bin/pip install --no-deps --require-hashes -r sbom.lock \
    && /opt/sbom/bin/cyclonedx-py environment /opt/limner --output-reproducible -o /opt/limner/sbom.json

FROM ${BASE_IMAGE} AS worker
ARG BASE_IMAGE
ARG REVISION=""
ARG CREATED=""
LABEL org.opencontainers.image.title="Limner: worker" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    org.opencontainers.image.base.name="${BASE_IMAGE}" \
    org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/limner /opt/limner
RUN useradd --system --uid 10001 --create-home limner \
    && install -d -o limner -g limner /data /home/limner/.cache
USER limner
VOLUME ["/data", "/home/limner/.cache"]
ENV PATH=/opt/limner/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LIMNER_DATA_DIR=/data
STOPSIGNAL SIGTERM
CMD ["limner", "worker"]
