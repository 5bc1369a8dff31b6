# The Image API and the pipeline in one image; compose.yaml runs both beside a Postgres.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /opt/images
COPY requirements.lock ./
RUN /opt/images/bin/python -m pip install --require-hashes --only-binary :all: -r requirements.lock
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY pipeline pipeline
COPY app app
RUN /opt/images/bin/python -m pip install --no-deps --no-build-isolation . \
    && /opt/images/bin/python -m compileall -q /opt/images

FROM python:${PYTHON}-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin images \
    && install -d -o images -g images /data /data/static /data/extracted /data/input /data/postgres
COPY --from=build /opt/images /opt/images
ENV PATH=/opt/images/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIPELINE_INPUT=/data/input \
    PIPELINE_EXTRACTED=/data/extracted \
    PIPELINE_STATIC=/data/static \
    PIPELINE_DATA=/data/postgres
WORKDIR /data
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/live', timeout=4)"]
CMD ["python", "-m", "app", "--host", "0.0.0.0", "--port", "8000"]
