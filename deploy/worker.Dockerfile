# A worker, for a GPU or the CPU. Build from the repository's root.
#
# PyPI's torch for Linux brings CUDA's libraries with it and also runs on a CPU, so one file serves both. For an image
# a tenth of the size without them, name PyTorch's own CPU index: --build-arg TORCH_INDEX_URL=…
# A build for production names the base image by its digest: --build-arg BASE_IMAGE=python@sha256:…
ARG BASE_IMAGE=python:3.11-slim
FROM ${BASE_IMAGE}

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /app
ARG TORCH_INDEX_URL=""

# The locked packages first: they change less often than the code. torch comes before all else,
# with whatever its build needs: CUDA's libraries, or nothing.
COPY torch.lock deploy/worker.lock ./
RUN if [ -n "$TORCH_INDEX_URL" ]; then export PIP_INDEX_URL="$TORCH_INDEX_URL"; fi \
    && pip install -r torch.lock
RUN pip install --no-deps --require-hashes -r worker.lock

COPY pyproject.toml README.md LICENSE ./
COPY client ./client
COPY dispatcher ./dispatcher
COPY shared ./shared
COPY training ./training
COPY web ./web
COPY worker ./worker
COPY migrations ./migrations
RUN pip install --no-deps . && rm -rf /app/*

RUN useradd --system --uid 10001 --create-home limner \
    && install -d -o limner -g limner /data /home/limner/.cache
USER limner
VOLUME ["/data", "/home/limner/.cache"]
ENV LIMNER_DATA_DIR=/data
STOPSIGNAL SIGTERM
CMD ["limner", "worker"]
