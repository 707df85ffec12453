# The page and the HTTP API in a container; see docs/guides/web.md and compose.yaml.
#   docker build -t mien . && docker run --rm -p 127.0.0.1:8008:8008 mien --no-token --allow-host localhost

FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN python3 -m venv /opt/mien
RUN /opt/mien/bin/pip install --quiet --no-cache-dir -c constraints.txt '.[web]'
# The better detector travels with the image; without a network it takes Haar, and says so when it starts.
RUN XDG_CACHE_HOME=/opt/mien/cache /opt/mien/bin/mien doctor --fetch || echo "YuNet was not fetched"

FROM python:3.11-slim
COPY --from=build /opt/mien /opt/mien
ENV XDG_CACHE_HOME=/opt/mien/cache MIEN_OFFLINE=1 MIEN_MODELS=/models PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8008
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["/opt/mien/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8008/v1/health', timeout=3)"]
ENTRYPOINT ["/opt/mien/bin/mien", "serve", "--host", "0.0.0.0"]
CMD ["--allow-host", "localhost"]
