# The serving image. Its build context is a bento, not the project: `docker build -f Dockerfile <bento folder>`.
ARG BASE=python:3.11-slim

# Installs into a virtual environment; pip and what it needs stay behind in this stage.
FROM ${BASE} AS build
RUN python -m venv --copies /app/venv
COPY src/requirements/serve.lock /tmp/serve.lock
# Wheels only, each by its hash: no compiler is needed, and nothing else can come in.
RUN /app/venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-compile \
      --only-binary :all: --require-hashes -r /tmp/serve.lock \
 && /app/venv/bin/pip uninstall --yes --quiet pip setuptools
COPY . /app/bento
# Bytecode now, because later the file system is read-only; by hash, so that the layer does not depend on the time.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app/venv/lib /app/bento/src

FROM ${BASE}
COPY --from=build /app /app
# BentoML writes only below BENTOML_HOME and TMPDIR: /tmp may be the one writable mount.
ENV PATH=/app/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    BENTOML_HOME=/tmp/bentoml \
    BENTOML_DO_NOT_TRACK=True \
    ORT_DISABLE_TELEMETRY=1 \
    BENTOML_CONTAINERIZED=true
# Numeric, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /app/bento
EXPOSE 3000
# The exec form: SIGTERM reaches the supervisor, which lets requests finish.
ENTRYPOINT ["bentoml", "serve", "/app/bento", "--host", "0.0.0.0", "--port", "3000"]
