# The service, on a CPU. docs/operations.md tells how to build and run it.
#
#   TORCH_INDEX     a package index with torch's CPU builds; empty takes torch as it comes
#   PIP_INDEX_URL   a mirror for everything else; unset leaves pip's own

FROM python:3.12-slim-bookworm AS build

ARG TORCH_INDEX=""
ARG PIP_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

RUN python -m venv /opt/tgqformer
ENV PATH=/opt/tgqformer/bin:$PATH

# The same bounds as in pyproject.toml; on a layer of its own, since it is the largest by far.
RUN if [ -n "$TORCH_INDEX" ]; then pip install --index-url "$TORCH_INDEX" "torch>=2.6,<2.14"; fi

WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
# The version is that of the source.
# hadolint ignore=DL3013
RUN pip install ".[offline,serve]"


FROM python:3.12-slim-bookworm

LABEL org.opencontainers.image.title="tgqformer" \
      org.opencontainers.image.description="Product embeddings and their neighbours over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0"

# The volumes' folders exist beforehand, so that a new named volume belongs to this user.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin tgqformer \
    && mkdir -p /data /cache \
    && chown tgqformer:tgqformer /data /cache

COPY --from=build /opt/tgqformer /opt/tgqformer

ENV PATH=/opt/tgqformer/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/cache/huggingface \
    TGQFORMER_CACHE=/cache/tgqformer

USER 10001
WORKDIR /data
VOLUME ["/data", "/cache"]
EXPOSE 8000
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]

ENTRYPOINT ["tgqformer"]
CMD ["serve", "/model", "/data/store", "--host", "0.0.0.0", "--port", "8000"]
