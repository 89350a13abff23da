# Three images over one base, each from a folder that holds one lock and its code: `serve` from a bento, `gate` and
# `uploader` from what `slipway image --gate` and `--uploader` put together. Dependabot moves a FROM and no ARG, so the base is named in one.
ARG BASE=slim
FROM python:3.11-slim AS slim

# A virtual environment without pip; what installs into it stays behind in this stage.
FROM ${BASE} AS venv
RUN python -m venv --without-pip /app/venv
COPY src/requirements/*.lock /tmp/locks/
# Wheels only, each by its hash: no compiler is needed, and nothing else can come in. Their own tests are no part of it.
# Bytecode now, because later the file system is read-only; by hash, so that the layer does not depend on the time.
RUN python -m pip --python /app/venv/bin/python install --no-cache-dir --disable-pip-version-check --no-compile \
      --only-binary :all: --require-hashes -r /tmp/locks/*.lock \
 && find /app/venv/lib -type d -name tests -prune -exec rm -rf {} + \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app/venv/lib

# The code, or the bento: all that differs from release to release.
FROM ${BASE} AS code
COPY . /app/bento
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app/bento/src

# The base without its pip, for both: wherever the distribution or the official image has put it.
FROM ${BASE} AS bare
RUN find / -xdev \( -path '*-packages/pip*' -o -path '*-packages/setuptools*' -o -path '*-packages/pkg_resources*' \
      -o -path '*-packages/wheel*' -o -path '*-packages/*distutils*' -o -path '*/ensurepip' -o -path '*/python-wheels' \
      -o -path '*/bin/pip*' \) -prune -exec rm -rf {} +
ENV PATH=/app/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# Numeric, so that Kubernetes can see that it is not root; any other number works as well.
USER 10001:10001

FROM bare AS serve
# Two layers: with the same lock a release builds, pushes and pulls the second one alone.
COPY --from=venv /app/venv /app/venv
COPY --from=code /app/bento /app/bento
# One process, which a container ends with: uvicorn over the bento's service, as `slipway.serving.local_server` starts it on a machine.
# BentoML writes only below BENTOML_HOME and TMPDIR: /tmp may be the one writable mount.
ENV BENTOML_HOME=/tmp/bentoml \
    BENTOML_DO_NOT_TRACK=True \
    ORT_DISABLE_TELEMETRY=1 \
    SLIPWAY_LOG_FORMAT=json
WORKDIR /app/bento/src
EXPOSE 3000
# The exec form: SIGTERM reaches uvicorn, which lets requests finish.
ENTRYPOINT ["python", "-m", "uvicorn", "--factory", "slipway.serving.service:app", "--app-dir", "/app/bento/src", "--loop", "uvloop", \
  "--http", "slipway.serving.http_protocol:Protocol", "--log-level", "warning", "--no-access-log", "--no-server-header", "--no-proxy-headers", \
  "--lifespan", "on", "--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "10", "--host", "0.0.0.0", "--port", "3000"]
# A step that differs with the commit: with all steps in its cache, buildah gives an earlier commit's image, and its labels.
ARG REVISION
RUN : "$REVISION"

FROM bare AS gate
COPY --from=venv /app/venv /app/venv
COPY --from=code /app/bento /app/bento
ENV PYTHONPATH=/app/bento/src
WORKDIR /app/bento/src
ENTRYPOINT ["python", "-m", "slipway.loadtest.in_cluster"]
ARG REVISION
RUN : "$REVISION"

FROM bare AS uploader
COPY --from=venv /app/venv /app/venv
COPY --from=code /app/bento /app/bento
ENV PYTHONPATH=/app/bento/src
WORKDIR /app/bento/src
# The exec form: SIGTERM reaches the program, which uploads what the service has closed.
ENTRYPOINT ["python", "-m", "slipway.monitoring.log_files.uploader"]
ARG REVISION
RUN : "$REVISION"
