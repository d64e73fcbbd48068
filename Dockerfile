# The server on ONNX Runtime, without PyTorch. It speaks with Ember; for another model mount one and set SPARKTTS_MODEL.
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python -m venv /opt/sparktts \
    && /opt/sparktts/bin/pip install --no-cache-dir ".[server]"

FROM python:3.12-slim
RUN useradd --create-home --uid 1000 speaker && mkdir /voices && chown speaker /voices
COPY --from=build /opt/sparktts /opt/sparktts
ENV PATH=/opt/sparktts/bin:$PATH \
    SPARKTTS_VOICES=/voices \
    PYTHONUNBUFFERED=1
USER 1000
VOLUME /voices
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
# Other containers and the host can reach it only with a key: SPARKTTS_API_KEYS.
ENTRYPOINT ["sparktts", "serve", "--host", "0.0.0.0"]
