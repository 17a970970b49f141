# Two images: `docker build --target light .` trades and serves, `--target pipeline .` also trains, decides and shows.
FROM python:3.13-slim-bookworm AS base
# Of the boosters: the compiled code of LightGBM and XGBoost.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --home-dir /var/lib/steelyard --uid 10001 --shell /usr/sbin/nologin steelyard \
    && install --directory --owner=steelyard --mode=0700 /var/cache/steelyard
ENV PATH=/opt/steelyard/bin:$PATH \
    HOME=/var/lib/steelyard \
    MPLCONFIGDIR=/var/cache/steelyard/matplotlib \
    NUMBA_CACHE_DIR=/var/cache/steelyard/numba \
    PYTHONUNBUFFERED=1

FROM base AS source
WORKDIR /src
RUN python -m venv /opt/steelyard
COPY . .

FROM source AS build-light
# pyarrow: bars are read from the lake. Its version is that of constraints.txt.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir --constraint constraints.txt '.[calendars,postgres,serve]' pyarrow

FROM source AS build-pipeline
RUN pip install --no-cache-dir --constraint constraints.txt '.[all]'

FROM base AS light
COPY --from=build-light /opt/steelyard /opt/steelyard
WORKDIR /var/lib/steelyard
USER 10001
VOLUME /var/lib/steelyard
ENTRYPOINT ["steelyard"]
CMD ["serve", "--host", "0.0.0.0"]

FROM base AS pipeline
COPY --from=build-pipeline /opt/steelyard /opt/steelyard
WORKDIR /var/lib/steelyard
USER 10001
VOLUME /var/lib/steelyard
ENTRYPOINT ["steelyard"]
CMD ["up"]
