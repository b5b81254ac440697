# The service, without what only training needs. Build: docker build -t perfsage .
FROM python:3.11-slim AS build
WORKDIR /source
COPY . .
RUN python -m venv /opt/perfsage \
    && /opt/perfsage/bin/pip install --no-cache-dir '.[serve,dataset,postgres,tracing]'

FROM python:3.11-slim
RUN useradd --system --create-home --uid 10001 perfsage
COPY --from=build /opt/perfsage /opt/perfsage
ENV PATH=/opt/perfsage/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PERFSAGE_HOST=0.0.0.0 \
    PERFSAGE_PORT=8000 \
    PERFSAGE_LOG_FORMAT=json
USER perfsage
WORKDIR /home/perfsage
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["perfsage"]
CMD ["serve"]
