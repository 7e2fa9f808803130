#!/usr/bin/env bash
# The GPU suite in under ten minutes. Needs no installation of Limner and no weights: only torch, transformers,
# diffusers, accelerate, peft, safetensors, numpy, pillow, matplotlib, pydantic, pydantic-settings, SQLAlchemy, alembic,
# redis, structlog, prometheus-client, platformdirs, httpx, rich, greenlet and python-ulid.
set -euo pipefail
cd "$(dirname "$0")/../.."
for root in client shared web dispatcher worker training .; do
  PYTHONPATH="$PWD/$root${PYTHONPATH:+:$PYTHONPATH}"
done
export PYTHONPATH PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false
exec "${PYTHON:-python3}" -W ignore -m bench.gpu "$@"
